package failover

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
)

// knownKinds is the constants of type Kind, as events.go has them.
func knownKinds() map[Kind]bool {
	file, err := parser.ParseFile(token.NewFileSet(), "events.go", nil, 0)
	if err != nil {
		panic(err)
	}
	known := map[Kind]bool{}
	ast.Inspect(file, func(node ast.Node) bool {
		spec, is := node.(*ast.ValueSpec)
		if !is {
			return true
		}
		if name, is := spec.Type.(*ast.Ident); is && name.Name == "Kind" {
			word, _ := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			known[Kind(word)] = true
		}
		return true
	})
	return known
}
