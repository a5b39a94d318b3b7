// Command egress is the one way out of the bundle: it dials what its policy lists for the client that asks,
// and carries bytes. It holds no secret and no data; README.md is its manual.
package main

func main() { program().Main() }
