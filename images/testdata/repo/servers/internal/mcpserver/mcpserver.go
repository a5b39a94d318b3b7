// Package mcpserver stands for the real one.
package mcpserver

// Main does nothing.
func Main() {}
