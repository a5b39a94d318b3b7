module github.com/bulkhead-mcp/bulkhead

go 1.26.0
