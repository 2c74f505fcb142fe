#!/bin/sh
# Checks the commits of a branch: a subject of at most 72 characters and a body
# that says why. The branch begins where it left main; on main itself, and in a
# clone without it, the commits since the rule began are checked.
set -eu

# The commit by which the rule came; those before it are as they are.
rule='commits: a subject that fits, and a body that says why'

base=$(git merge-base HEAD origin/main 2>/dev/null || git merge-base HEAD main 2>/dev/null || true)
if [ -z "$base" ] || [ "$base" = "$(git rev-parse HEAD)" ]; then
  base=$(git log --fixed-strings --grep="$rule" --format=%P -1)
fi
if [ -n "$base" ]; then
  range=$base..HEAD
else
  range=HEAD^! # a clone without history
fi

bad=0
checked=0
for commit in $(git rev-list --no-merges "$range"); do
  checked=$((checked + 1))
  subject=$(git log -1 --format=%s "$commit")
  if [ "$(printf %s "$subject" | wc -m)" -gt 72 ]; then
    echo "$(git log -1 --format=%h "$commit"): the subject has more than 72 characters: $subject"
    bad=1
  fi
  if [ -z "$(git log -1 --format=%b "$commit")" ]; then
    echo "$(git log -1 --format=%h "$commit"): the body does not say why: $subject"
    bad=1
  fi
done
echo "$checked commits checked"
exit $bad
