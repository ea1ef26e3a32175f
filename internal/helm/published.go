package helm

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/ferry-chatops/ferry/internal/render"
)

const (
	maxRange = 256     // characters; what is longer takes long to hold versions against
	maxImage = 4 << 20 // bytes of an OCI manifest, the usual limit of registries
	// resolvedFor is how long a version that was found for a range or a tag is kept: for one report, which asks for it
	// several times.
	resolvedFor = 15 * time.Second
	// archivesFor is how long an archive is kept whose digest is known.
	archivesFor = 10 * time.Minute
	maxShelf    = 32 << 20 // bytes of all archives
)

// The media types of a chart in a registry, from Helm's pkg/registry.
var chartTypes = []string{"application/vnd.cncf.helm.chart.content.v1.tar+gzip", "application/tar+gzip"}

// published takes a chart from a HelmRepository.
func (r *Renderer) published(ctx context.Context, j *job, source sourcev1.HelmRepositorySpec, want sourcev1.HelmChartSpec, credential *render.Credential) error {
	if !generic(source.Provider) {
		return clouds(source.Provider)
	}
	if !chartName.MatchString(want.Chart) {
		return refusal(fmt.Sprintf("%q is no name of a chart.", want.Chart))
	}
	name, oci := strings.CutPrefix(strings.TrimRight(source.URL, "/"), "oci://")
	if oci != (source.Type == sourcev1.HelmRepositoryTypeOCI) {
		return refusal("The type of its HelmRepository and the URL do not belong together.")
	}
	load := func(ctx context.Context) (found, error) {
		return r.indexed(ctx, source.URL, want.Chart, want.Version, credential)
	}
	if oci {
		load = func(ctx context.Context) (found, error) {
			return r.tagged(ctx, name+"/"+want.Chart, source.Insecure, credential, versionOf(want.Version), isChart)
		}
	}
	f, err := r.shelf.get(ctx, resolvedFor, load, "HelmRepository", source.URL, source.Insecure, want.Chart, want.Version, credential)
	j.Chart.Archive = f.archive
	return err
}

// chartName is what source-controller takes for one.
var chartName = regexp.MustCompile(`^([-a-z0-9]+/?\.?)+$`)

func generic(provider string) bool { return provider == "" || provider == sourcev1.GenericOCIProvider }

func clouds(provider string) error {
	return refusal(fmt.Sprintf("Its source asks for credentials of the cloud (provider %s), which ferry does not have.", provider))
}

// artifact takes a chart from an OCIRepository.
func (r *Renderer) artifact(ctx context.Context, j *job, source sourcev1.OCIRepositorySpec, credential *render.Credential) error {
	if !generic(source.Provider) {
		return clouds(source.Provider)
	}
	name, oci := strings.CutPrefix(source.URL, sourcev1.OCIRepositoryPrefix)
	if !oci {
		return refusal("The URL of its OCIRepository is not oci://.")
	}
	ref := cmp.Or(source.Reference, &sourcev1.OCIRepositoryRef{})
	choose := func(context.Context, *remote.Repository) (string, error) {
		return cmp.Or(ref.Digest, ref.Tag, "latest"), nil
	}
	if ref.Digest == "" && ref.SemVer != "" {
		choose = rangeOf(ref.SemVer, ref.SemverFilter)
	}
	layer := func(layer ocispec.Descriptor) bool { return true }
	if s := source.LayerSelector; s != nil && s.MediaType != "" {
		layer = func(layer ocispec.Descriptor) bool { return layer.MediaType == s.MediaType }
	}
	f, err := r.shelf.get(ctx, resolvedFor, func(ctx context.Context) (found, error) {
		return r.tagged(ctx, name, source.Insecure, credential, choose, layer)
	}, "OCIRepository", source.URL, source.Insecure, ref, source.LayerSelector, credential)
	j.Chart.Archive = f.archive
	if _, hex, _ := strings.Cut(f.digest, ":"); len(hex) >= 12 {
		j.Revision = hex[:12]
	}
	if f.tag != f.digest {
		j.Tag = f.tag
	}
	return err
}

// indexed takes a version of a chart from a repository with an index, as source-controller chooses it: that version
// itself, else the newest in the range; of equal ones that which was made last.
func (r *Renderer) indexed(ctx context.Context, repository, chart, version string, credential *render.Credential) (found, error) {
	all, err := r.charts.index(ctx, repository, chart, credential)
	if err != nil {
		return found{}, err
	}
	i := slices.IndexFunc(all, func(e entry) bool { return version != "" && e.Version == version })
	if i < 0 {
		constraint, err := newConstraint(version)
		if err != nil {
			return found{}, err
		}
		var best *semver.Version
		for n, e := range all {
			v, err := parseVersion(e.Version)
			if err != nil || !constraint.Check(v) {
				continue
			}
			if best == nil || v.GreaterThan(best) || v.Equal(best) && later(e, all[i]) {
				best, i = v, n
			}
		}
	}
	if i < 0 {
		return found{}, refusal(fmt.Sprintf("No version of the chart %s fits %q.", chart, version))
	}
	if len(all[i].URLs) == 0 {
		return found{}, refusal(fmt.Sprintf("The index has no address for %s of the chart %s.", all[i].Version, chart))
	}
	base, err := url.Parse(repository)
	if err != nil {
		return found{}, errors.New("the repository's URL cannot be read")
	}
	at, err := url.Parse(all[i].URLs[0])
	if err != nil {
		return found{}, errors.New("the chart's address in the index cannot be read")
	}
	if !at.IsAbs() {
		below := base.JoinPath("/")
		at = below.ResolveReference(at)
		at.RawQuery = base.RawQuery
	}
	load := func(ctx context.Context) (found, error) {
		client, err := client(base.Scheme, base.Host, credential)
		if err != nil {
			return found{}, err
		}
		defer client.CloseIdleConnections()
		archive, err := get(ctx, client, at.String(), maxArchive)
		if err != nil {
			return found{}, fmt.Errorf("fetch archive: %w", err)
		}
		return found{archive: archive}, nil
	}
	if all[i].Digest == "" {
		return load(ctx)
	}
	return r.shelf.get(ctx, archivesFor, load, "archive", repository, at.String(), all[i].Digest, credential)
}

func later(a, b entry) bool {
	madeA, _ := time.Parse(time.RFC3339Nano, string(a.Created))
	madeB, _ := time.Parse(time.RFC3339Nano, string(b.Created))
	return madeA.After(madeB)
}

// newConstraint reads a range; an empty one is any version that is no pre-release.
func newConstraint(version string) (*semver.Constraints, error) {
	constraint, err := semver.NewConstraint(cmp.Or(version, "*"))
	if err != nil || len(version) > maxRange {
		return nil, refusal(fmt.Sprintf("%.*q is neither a version nor a range.", maxRange, version))
	}
	return constraint, nil
}

// parseVersion reads a version as Flux does: with three parts, and a "v" before them if need be.
func parseVersion(version string) (*semver.Version, error) {
	if len(strings.SplitN(version, ".", 3)) != 3 {
		return nil, semver.ErrInvalidSemVer
	}
	return semver.NewVersion(version)
}

// versionOf chooses the tag of a version, or of the newest in a range.
func versionOf(version string) func(context.Context, *remote.Repository) (string, error) {
	tag := func(version string) string { return strings.ReplaceAll(version, "+", "_") }
	if _, err := parseVersion(version); err == nil {
		return func(context.Context, *remote.Repository) (string, error) { return tag(version), nil }
	}
	return func(ctx context.Context, repository *remote.Repository) (string, error) {
		all, err := tags(ctx, repository)
		if err != nil {
			return "", err
		}
		for i := range all {
			all[i] = strings.ReplaceAll(all[i], "_", "+")
		}
		if version != "" && slices.Contains(all, version) {
			return tag(version), nil
		}
		newest, err := newestIn(all, version)
		return tag(newest), err
	}
}

// rangeOf chooses the newest tag in a range, among those that a regular expression fits.
func rangeOf(version, filter string) func(context.Context, *remote.Repository) (string, error) {
	return func(ctx context.Context, repository *remote.Repository) (string, error) {
		fits, err := regexp.Compile(filter)
		if err != nil {
			return "", refusal("The semverFilter of its OCIRepository is no regular expression.")
		}
		all, err := tags(ctx, repository)
		if err != nil {
			return "", err
		}
		return newestIn(slices.DeleteFunc(all, func(tag string) bool { return !fits.MatchString(tag) }), version)
	}
}

func newestIn(all []string, version string) (string, error) {
	constraint, err := newConstraint(version)
	if err != nil {
		return "", err
	}
	var best *semver.Version
	for _, text := range all {
		if v, err := parseVersion(text); err == nil && constraint.Check(v) && (best == nil || v.GreaterThan(best)) {
			best = v
		}
	}
	if best == nil {
		return "", refusal(fmt.Sprintf("No version of its chart fits %q.", version))
	}
	return best.Original(), nil
}

func isChart(layer ocispec.Descriptor) bool { return slices.Contains(chartTypes, layer.MediaType) }

// tagged takes a layer of an image from a registry.
func (r *Renderer) tagged(ctx context.Context, name string, insecure bool, credential *render.Credential, choose func(context.Context, *remote.Repository) (string, error), layer func(ocispec.Descriptor) bool) (found, error) {
	repository, end, err := openRegistry(name, insecure, credential)
	if err != nil {
		return found{}, err
	}
	defer end()
	f := found{}
	if f.tag, err = choose(ctx, repository); err != nil {
		return found{}, err
	}
	top, err := repository.Resolve(ctx, f.tag)
	if err != nil {
		return found{}, fmt.Errorf("find %s: %w", f.tag, withoutQueries(err))
	}
	f.digest = top.Digest.String()
	image := top
	if top.MediaType == ocispec.MediaTypeImageIndex || strings.HasSuffix(top.MediaType, "manifest.list.v2+json") {
		var index ocispec.Index
		if err := manifest(ctx, repository, top, &index); err != nil {
			return found{}, err
		}
		i := slices.IndexFunc(index.Manifests, func(m ocispec.Descriptor) bool {
			return m.Platform != nil && m.Platform.OS == "linux" && m.Platform.Architecture == "amd64"
		})
		if i < 0 {
			return found{}, refusal("The image that its chart is in has no manifest for linux/amd64.")
		}
		image = index.Manifests[i]
	}
	var of ocispec.Manifest
	if err := manifest(ctx, repository, image, &of); err != nil {
		return found{}, err
	}
	i := slices.IndexFunc(of.Layers, layer)
	if i < 0 {
		return found{}, refusal("The image that its chart is in has no layer with a chart.")
	}
	blob := of.Layers[i]
	if blob.Size > maxArchive {
		return found{}, refusal(fmt.Sprintf("The archive of its chart is larger than %d MB.", maxArchive>>20))
	}
	kept, err := r.shelf.get(ctx, archivesFor, func(ctx context.Context) (found, error) {
		body, err := repository.Blobs().Fetch(ctx, blob)
		if err != nil {
			return found{}, fmt.Errorf("fetch archive: %w", withoutQueries(err))
		}
		defer body.Close()
		archive, err := content.ReadAll(io.LimitReader(body, maxArchive+1), blob)
		if err != nil {
			return found{}, fmt.Errorf("fetch archive: %w", err)
		}
		return found{archive: archive}, nil
	}, "layer", name, insecure, blob.Digest, credential)
	f.archive = kept.archive
	return f, err
}

// manifest fetches one, in either of its forms.
func manifest(ctx context.Context, repository *remote.Repository, at ocispec.Descriptor, into any) error {
	if at.Size > maxImage {
		return refusal(fmt.Sprintf("The manifest of the image that its chart is in is larger than %d MB.", maxImage>>20))
	}
	raw, err := content.FetchAll(ctx, repository.Manifests(), at)
	if err != nil {
		return fmt.Errorf("fetch manifest: %w", withoutQueries(err))
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return errors.New("the manifest cannot be read")
	}
	return nil
}

// found is a packed chart, and where it was found in a registry.
type found struct {
	archive     []byte
	tag, digest string
}

// key is short for all that decides about what is found, the credential among it.
func key(parts ...any) [sha256.Size]byte {
	raw, err := json.Marshal(parts)
	if err != nil {
		panic(err) // texts and plain structs
	}
	return sha256.Sum256(raw)
}
