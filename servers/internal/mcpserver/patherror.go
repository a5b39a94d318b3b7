package mcpserver

import (
	"errors"
	"fmt"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/limit"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/workspace"
)

// PathError gives an error of reading the workspace at the argument "path" the code that callers go by. Any other error is
// a fault.
func PathError(err error) error {
	for _, known := range []struct {
		is   error
		code Code
	}{
		{workspace.ErrOutside, CodeDenied},
		{workspace.ErrForbidden, CodeDenied},
		{workspace.ErrNotFound, CodeNotFound},
		{workspace.ErrUnreadable, CodeForbidden},
		{limit.ErrTooLarge, CodeTooLarge},
	} {
		if errors.Is(err, known.is) {
			return Errorf(known.code, "path: %w", err)
		}
	}
	return fmt.Errorf("reading the workspace: %w", err)
}
