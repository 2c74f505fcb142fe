module github.com/castai/kubectl-castai/test/controlplane

go 1.26
