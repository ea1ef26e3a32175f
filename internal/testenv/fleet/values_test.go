package fleet_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ferry-chatops/ferry/internal/testenv/fleet"
)

// valued are two HelmReleases of a chart that is not named like them. The values of player name its image; those of mail are
// in a ConfigMap that keeps its name, and leave the image's name to the chart.
const valued = `
apiVersion: v1
kind: Namespace
metadata: {name: media}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: HelmRepository
metadata: {name: charts, namespace: media}
spec: {interval: 10m, url: %q}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: player, namespace: media}
spec:
  interval: 10m
  timeout: 20s
  chart: {spec: {chart: podinfo, version: 6.9.0, sourceRef: {kind: HelmRepository, name: charts}}}
  values:
    progressDeadlineSeconds: 3
    image:
      repository: ghcr.io/acme/player
      tag: %q # what listeners hear
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: mail, namespace: media}
spec:
  interval: 10m
  chart: {spec: {chart: podinfo, version: 6.9.0, sourceRef: {kind: HelmRepository, name: charts}}}
  valuesFrom: [{kind: ConfigMap, name: mail}]
`

// addValued puts the applications of valued into both environments.
func (c chat) addValued() {
	c.Helper()
	files := map[string]string{}
	for environment, tag := range map[string]string{"stage": "1.2.0", "prod": "1.1.0"} {
		dir := "apps/" + environment
		files[dir+"/media.yaml"] = fmt.Sprintf(valued, c.Charts.HTTPURL, tag)
		files[dir+"/mail.yaml"] = "image:\n  tag: 2.0.0\n"
		files[dir+"/kustomization.yaml"] = strings.Replace(c.git("show", "main:"+dir+"/kustomization.yaml")+"\n", "resources:\n", `configMapGenerator:
- name: mail
  namespace: media
  files: [values.yaml=mail.yaml]
generatorOptions: {disableNameSuffixHash: true}
resources:
- media.yaml
`, 1)
	}
	if _, err := c.Hub.Commit(fleet.Repository, "main", "alice", "Add the media", files); err != nil {
		c.Fatal(err)
	}
	now := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": %q}}}`, time.Now()))
	for _, environment := range fleet.Environments {
		var source sourcev1.GitRepository
		c.read(environment, "flux-system", "fleet", &source)
		if err := c.Clusters[environment].Client().Patch(c.Context(), &source, now); err != nil {
			c.Fatal(err)
		}
	}
	c.eventually("list player", "✓ chart 6.9.0, player 1.2.0")
	c.eventually("list player", "✓ chart 6.9.0, player 1.1.0")
	c.eventually("list mail", "✓ chart 6.9.0, podinfo 2.0.0")
}

func TestImagesThatValuesName(t *testing.T) {
	c := start(t)
	c.addValued()
	choice := c.sees("promote player@1.2.0 to prod", "Which one?", "chart podinfo is at 6.9.0", "image ghcr.io/acme/player is at 1.1.0", "--chart", "--image player")
	card := c.press(choice, "promote player@1.2.0 to prod --image player", "Promote player on prod?", `-      tag: "1.1.0" # what listeners hear`, `+      tag: "1.2.0" # what listeners hear`, "upgrade")
	c.press(card, "promote player@1.2.0 to prod --confirm", "player (image player) 1.2.0 on prod: Verified", "Deployment media/player: 1 of 1 ready with player 1.2.0")
	c.want("image", c.image("prod", "media", "player"), "ghcr.io/acme/player:1.2.0")
	c.want("chart", c.release("prod", "media", "player"), "6.9.0")
	c.want("changed lines", c.git("log", "-1", "--format=", "--numstat"), "1\t1\tapps/prod/media.yaml")
	c.sees("status player on prod", "player (image player) 1.2.0 on prod: Verified")

	c.sees("rollback player on prod", "--image player")
	c.sees("rollback player on prod --image player --yes", "1.1.0 on prod: Verified")
	c.want("image", c.image("prod", "media", "player"), "ghcr.io/acme/player:1.1.0")
	c.sees("promote player from stage to prod --image player --yes", "1.2.0 on prod: Verified")
	c.sees("promote player@6.9.2 to prod --chart --yes", "player 6.9.2 on prod: Verified", "(chart)")
	c.want("chart", c.release("prod", "media", "player"), "6.9.2")
	c.want("image", c.image("prod", "media", "player"), "ghcr.io/acme/player:1.2.0")

	failed := c.sees("promote player@bad-2 to prod --image player --yes", "player (image player) bad-2 on prod: Failed", "ImagePullBackOff")
	c.press(c.press(failed, "rollback player on prod --image player"), "rollback player on prod to 1.2.0 --confirm", "player (image player) 1.2.0 on prod: Verified", "Deployment media/player: 1 of 1 ready with player 1.2.0")
	c.want("image", c.image("prod", "media", "player"), "ghcr.io/acme/player:1.2.0")

	// The HelmRelease of mail stays as it is, so Flux has to be asked to look at what it takes its values from.
	c.sees("promote mail@2.1.0 to stage --image podinfo --yes", "mail (image podinfo) 2.1.0 on stage: Verified")
	c.want("image", c.image("stage", "media", "mail"), "ghcr.io/stefanprodan/podinfo:2.1.0")
	c.want("changed lines", c.git("log", "-1", "--format=", "--numstat"), "1\t1\tapps/stage/mail.yaml")
	c.sees("rollback mail on stage --image podinfo --yes", "mail (image podinfo) 2.0.0 on stage: Verified")
	c.want("image", c.image("stage", "media", "mail"), "ghcr.io/stefanprodan/podinfo:2.0.0")
}
