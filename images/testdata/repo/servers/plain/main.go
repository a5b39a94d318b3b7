// Plain speaks no MCP.
package main

func main() {}
