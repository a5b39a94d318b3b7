// Package agents tests the agents of agents/: that their files, the policy, the lock, the tools and the compose file say the
// same, and that each does its work in a turn with a scripted model, through a real gateway. It needs no engine.
package agents
