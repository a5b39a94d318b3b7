// Demo runs on the host, so it is no image.
package main

func main() {}
