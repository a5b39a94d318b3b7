// Hello greets whoever asks. This sentence is not in the image's description.
package main

import (
	"fmt"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/version"
)

func main() {
	fmt.Println("hello", version.String())
	mcpserver.Main()
}
