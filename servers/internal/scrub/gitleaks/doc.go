// Package gitleaks compares scrub with gitleaks, which is too heavy to link and not made for logs: what gitleaks finds,
// scrub finds. It is a module of its own, so that the project's own go.mod knows nothing of it.
package gitleaks
