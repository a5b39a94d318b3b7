// Package scripts is no program, so it is no image.
package scripts
