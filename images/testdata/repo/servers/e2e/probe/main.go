// Probe looks around from inside a container.
package main

func main() {}
