# The commands of "Remove Cast AI resources from your cluster", Step 4, and of
# "Removing finalizers from a namespace stuck in the terminating state", in Cast
# AI's documentation, word for word, but for three things: a command that waits
# without a limit gets one (LIMIT, the patience of the person at the keyboard),
# errors do not end it, and what the troubleshooting says of castai-agent is done
# for each of the three namespaces that is stuck.

# patiently runs a command, and counts it if it had to be given up.
patiently() { timeout "$LIMIT" "$@"; [ $? -ne 124 ] || echo "$*" >> given-up.txt; }

patiently kubectl delete ns castai-agent castai-omni liqo-storage --ignore-not-found
patiently kubectl wait --for=delete ns/castai-agent ns/castai-omni ns/liqo-storage --timeout=300s 2>/dev/null; echo "Done"

for ns in castai-agent castai-omni liqo-storage; do
  if kubectl get ns "$ns" >/dev/null 2>&1; then
    kubectl proxy --port=0 > proxy.txt & proxy=$!
    until grep -q 127.0.0.1 proxy.txt; do sleep 0.05; done
    address=$(sed -nE 's/.*(127\.0\.0\.1:[0-9]+).*/\1/p' proxy.txt)
    kubectl get namespace "$ns" -o json | jq '.spec.finalizers = []' > tmp.json && curl -s -k -H "Content-Type: application/json" -X PUT --data-binary @tmp.json "http://$address/api/v1/namespaces/$ns/finalize"
    kill "$proxy"
    kubectl get ns "$ns"
  fi
done

kubectl delete mutatingwebhookconfigurations castai-mutate-endpointslice castai-pod-mutator castai-pod-pinner castai-workload-autoscaler liqo-webhook --ignore-not-found
kubectl delete validatingwebhookconfigurations castai-validate-migration vpodmutation.cast.ai liqo-webhook --ignore-not-found

kubectl get clusterrolebindings -o name | grep -iE "castai|liqo" | xargs kubectl delete --ignore-not-found
kubectl get clusterroles -o name | grep -iE "castai|liqo" | xargs kubectl delete --ignore-not-found

kubectl get crds -o name | grep -E '\.cast\.ai|\.liqo\.io' | xargs -I{} kubectl patch {} -p '{"metadata":{"finalizers":[]}}' --type=merge
kubectl get crds -o name | grep -E '\.cast\.ai|\.liqo\.io' | patiently xargs kubectl delete --ignore-not-found
