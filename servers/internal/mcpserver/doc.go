// Package mcpserver is the runtime of every Bulkhead server: its flags and subcommands, the transports, the
// pipeline that every request goes through, health and shutdown.
//
// A server brings a [Program]: a name, its tools, and what it needs to make them. The pipeline reads top to
// bottom in request.go; http.go and stdio.go are the edges before it. The protocol itself is
// github.com/mark3labs/mcp-go's, reached through MCPServer.HandleMessage only.
package mcpserver
