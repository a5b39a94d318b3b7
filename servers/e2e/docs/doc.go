// Package docs holds what README.md, CONTRIBUTING.md, docs/ and the manuals of the programs say to what is there: the table of
// servers is generated, every configuration is read by what reads it, every command is run or held against what it calls, every
// flag is one that its program has, and a server is added as CONTRIBUTING.md says. It needs no engine.
package docs
