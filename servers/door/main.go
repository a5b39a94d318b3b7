// Command door is the one way into the bundle: it carries bytes between a published port and the gateway's
// socket. It holds nothing and understands nothing; README.md is its manual.
package main

func main() { program().Main() }
