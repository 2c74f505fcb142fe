package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/castai/kubectl-castai/test/living/charts"
	"github.com/castai/kubectl-castai/test/living/releases"
)

// ValuesVariable holds the values of the charts that Install installs, in JSON.
const ValuesVariable = "VALUES"

// Omni is the namespace of Cast AI's Liqo.
const Omni = "castai-omni"

// Install is somebody at a terminal who installs castware-operator, waits for it, and then lets it install the rest.
func Install(context.Context) error {
	return installAll(namespace(), "castware-operator", "castware-components")
}

// InstallOmni is somebody at a terminal who installs omni-agent, with Cast AI's Liqo, and waits for both.
func InstallOmni(context.Context) error { return installAll(Omni, "omni-agent") }

func installAll(namespace string, names ...string) error {
	values := map[string]any{}
	if err := json.Unmarshal([]byte(os.Getenv(ValuesVariable)), &values); err != nil {
		return fmt.Errorf("read the values: %w", err)
	}
	helm, err := releases.New(namespace, "helm")
	if err != nil {
		return err
	}
	for _, name := range names {
		c, err := charts.Load(name, "")
		if err != nil {
			return err
		}
		if err := helm.Install(name, c, values, true); err != nil {
			return fmt.Errorf("install %s: %w", name, err)
		}
	}
	return nil
}

// Uninstall is somebody at a terminal who removes what Install has installed, as Helm does it.
func Uninstall(context.Context) error {
	helm, err := releases.New(namespace(), "helm")
	if err != nil {
		return err
	}
	for _, name := range []string{"castware-components", "castware-operator"} {
		if err := helm.Uninstall(name); err != nil {
			return fmt.Errorf("uninstall %s: %w", name, err)
		}
	}
	return nil
}
