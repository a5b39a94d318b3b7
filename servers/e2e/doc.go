// Package e2e tests the running bundle from outside: it builds the images, starts compose.yaml under a project of
// its own, and looks. It needs a Docker engine on this machine, and root to look into /proc.
package e2e
