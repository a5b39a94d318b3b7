package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	maxAnswer = 64 << 20 // bytes of what cosign prints: attestations that the registry may have made up

	spdxType       = "spdxjson"
	provenanceType = "slsaprovenance1"

	// Who signs a release without a key: the release workflow of this repository, at a tag.
	releaseIdentity = `^https://github\.com/bulkhead-mcp/bulkhead/\.github/workflows/release\.yml@refs/tags/v[0-9A-Za-z._-]+$`
	releaseIssuer   = "https://token.actions.githubusercontent.com"
)

// cosign is the tool of that name. Signatures are made and checked by the same program that README shows to users, and not
// by what we would make of its libraries.
type cosign struct {
	binary string
}

// signatureTypes are what cosign calls a signature of an image, in a tag and in a bundle.
func signatureTypes() []string {
	return []string{"cosign container image signature", "https://sigstore.dev/cosign/sign/v1"}
}

// findCosign is the cosign that COSIGN names, else the one that scripts/tools pins, which is built the first time.
func findCosign(ctx context.Context, root string) (cosign, error) {
	if binary := os.Getenv("COSIGN"); binary != "" {
		return cosign{binary: binary}, nil
	}
	if root == "" {
		return cosign{}, errors.New("set COSIGN to the path of cosign, 3.0 or newer; or use scripts/verify of a checkout")
	}
	cmd := exec.CommandContext(ctx, filepath.Join(root, "scripts", "tool"), "cosign")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return cosign{}, fmt.Errorf("building cosign (or set COSIGN to yours, 3.0 or newer): %w", err)
	}
	return cosign{binary: strings.TrimSpace(string(out))}, nil
}

// run runs cosign and returns what it prints.
func (c cosign) run(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, c.binary, args...)
	var stdout, stderr bounded
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, &refusal{command: args[0], words: complaint(stderr.String()), err: err}
	}
	return stdout.Bytes(), nil
}

// refusal is cosign's answer where it is not yes.
type refusal struct {
	command string
	words   string
	err     error
}

func (r *refusal) Error() string {
	if r.words == "" {
		return fmt.Sprintf("cosign %s: %v", r.command, r.err)
	}
	return fmt.Sprintf("cosign %s: %s", r.command, r.words)
}

func (r *refusal) Unwrap() error { return r.err }

// complaint is the line of cosign's standard error that says what is wrong: the last "error: " or "main.go" line.
func complaint(stderr string) string {
	var last string
	for line := range strings.Lines(stderr) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "Error: ") || strings.HasPrefix(line, "error: ") {
			return strings.TrimSpace(line[len("Error: "):])
		}
		if line != "" {
			last = line
		}
	}
	return last
}

// bounded keeps what is written to it, up to maxAnswer bytes.
type bounded struct{ bytes.Buffer }

var errAnswer = errors.New("cosign prints more than anybody should believe")

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxAnswer {
		return 0, errAnswer
	}
	return b.Buffer.Write(p)
}

var _ io.Writer = (*bounded)(nil)

// signer is who signs.
type signer struct {
	key string // a file or a KMS's URI as cosign takes it; empty for the identity of the workflow that runs this
}

// flags are cosign's for signing. A signature by key is checked with the key alone, so it goes into no transparency log,
// and needs nothing but the registry.
func (s signer) flags() []string {
	if s.key == "" {
		return []string{"--yes"}
	}
	return []string{"--yes", "--key", s.key, "--use-signing-config=false", "--tlog-upload=false"}
}

// verifier is whose signatures count.
type verifier struct {
	key              string // of the public key, a file or a URI; else
	identity, issuer string // an expression for the certificate's identity, and who vouches for it
}

func (v verifier) String() string {
	if v.key != "" {
		return "the key " + v.key
	}
	return "an identity like " + v.identity
}

// flags are cosign's for verifying.
func (v verifier) flags() []string {
	if v.key != "" {
		return []string{"--key", v.key, "--insecure-ignore-tlog=true", "--private-infrastructure"}
	}
	return []string{"--certificate-identity-regexp", v.identity, "--certificate-oidc-issuer", v.issuer}
}
