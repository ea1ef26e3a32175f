package contract

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"
	"github.com/vektah/gqlparser/v2/validator"
	"github.com/vektah/gqlparser/v2/validator/rules"
)

// loadSchema reads GitHub's schema. As published it defines two fields of EnterpriseOwnerInfo,
// repositoryDeployKeySetting and repositoryDeployKeySettingOrganizations, twice; the second ones are dropped.
func loadSchema(file string) (*ast.Schema, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	doc, err := parser.ParseSchemas(validator.Prelude, &ast.Source{Name: file, Input: string(raw)})
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", file, err)
	}
	if info := doc.Definitions.ForName("EnterpriseOwnerInfo"); info != nil {
		seen := map[string]bool{}
		info.Fields = slices.DeleteFunc(info.Fields, func(f *ast.FieldDefinition) bool {
			twice := seen[f.Name] && (f.Name == "repositoryDeployKeySetting" || f.Name == "repositoryDeployKeySettingOrganizations")
			seen[f.Name] = true
			return twice
		})
	}
	schema, err := validator.ValidateSchemaDocument(doc)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", file, err)
	}
	return schema, nil
}

// graphQL checks a GraphQL document and its variables, and says how to check the shape of the answer.
func (c *Contract) graphQL(_ *http.Request, _ string, body []byte) (operation string, problems []error, answer checkAnswer) {
	const name = "POST /graphql"
	refuse := func(err error) (string, []error, checkAnswer) {
		return name, []error{fmt.Errorf("request: %w", err)}, nil
	}
	var in struct {
		Query         string         `json:"query"`
		Variables     map[string]any `json:"variables"`
		OperationName string         `json:"operationName"`
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&in); err != nil {
		return refuse(err)
	}
	doc, invalid := gqlparser.LoadQueryWithRules(c.schema, in.Query, rules.NewDefaultRules())
	if invalid != nil {
		return refuse(invalid)
	}
	chosen := doc.Operations.ForName(in.OperationName)
	if chosen == nil {
		return refuse(fmt.Errorf("no operation is named %q", in.OperationName))
	}
	if _, err := validator.VariableValues(c.schema, chosen, in.Variables); err != nil {
		return refuse(err)
	}
	return name, nil, func(held *httptest.ResponseRecorder) []error { return c.graphQLAnswer(chosen, held) }
}

func (c *Contract) graphQLAnswer(operation *ast.OperationDefinition, held *httptest.ResponseRecorder) []error {
	if held.Code != http.StatusOK {
		if err := c.failure(held.Body.Bytes()); err != nil {
			return []error{fmt.Errorf("answer %d: %w", held.Code, err)}
		}
		return nil
	}
	var out struct {
		Data   *json.RawMessage `json:"data"`
		Errors []struct {
			Message   string           `json:"message"`
			Type      string           `json:"type"`
			Path      []any            `json:"path"`
			Locations []map[string]int `json:"locations"`
		} `json:"errors"`
	}
	decoder := json.NewDecoder(bytes.NewReader(held.Body.Bytes()))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&out); err != nil {
		return []error{fmt.Errorf("answer: %w", err)}
	}
	var problems []error
	for _, e := range out.Errors {
		if e.Message == "" {
			problems = append(problems, errors.New("answer: an error has no message"))
		}
	}
	if out.Data == nil || string(*out.Data) == "null" {
		if len(out.Errors) == 0 {
			problems = append(problems, errors.New("answer: neither data nor errors"))
		}
		return problems
	}
	var data any
	decoder = json.NewDecoder(bytes.NewReader(*out.Data))
	decoder.UseNumber()
	if err := decoder.Decode(&data); err != nil {
		return append(problems, fmt.Errorf("answer: %w", err))
	}
	root := c.schema.Query
	if operation.Operation == ast.Mutation {
		root = c.schema.Mutation
	}
	return append(problems, c.shape("data", data, root, []ast.SelectionSet{operation.SelectionSet})...)
}

// A selected field is what an answer holds under one key.
type selected struct {
	field    *ast.Field
	children []ast.SelectionSet
	optional bool // chosen for some types only, or by a directive
}

// collect gathers what selections ask of a type, fragments and repeated fields merged.
func (c *Contract) collect(into map[string]*selected, parent *ast.Definition, sets []ast.SelectionSet, optional bool) {
	for _, set := range sets {
		for _, selection := range set {
			switch s := selection.(type) {
			case *ast.Field:
				if into[s.Alias] == nil {
					into[s.Alias] = &selected{field: s, optional: true}
				}
				into[s.Alias].children = append(into[s.Alias].children, s.SelectionSet)
				into[s.Alias].optional = into[s.Alias].optional && (optional || len(s.Directives) > 0)
			case *ast.InlineFragment:
				some := optional || len(s.Directives) > 0 || s.TypeCondition != "" && s.TypeCondition != parent.Name
				c.collect(into, parent, []ast.SelectionSet{s.SelectionSet}, some)
			case *ast.FragmentSpread:
				some := optional || len(s.Directives) > 0 || s.Definition.TypeCondition != parent.Name
				c.collect(into, parent, []ast.SelectionSet{s.Definition.SelectionSet}, some)
			}
		}
	}
}

// shape holds an object of an answer to what was selected of its type.
func (c *Contract) shape(at string, value any, definition *ast.Definition, sets []ast.SelectionSet) []error {
	answer, ok := value.(object)
	if !ok {
		return []error{fmt.Errorf("answer: %s is not an object but %T", at, value)}
	}
	fields := map[string]*selected{}
	c.collect(fields, definition, sets, false)
	var problems []error
	for _, key := range slices.Sorted(maps.Keys(answer)) {
		if fields[key] == nil {
			problems = append(problems, fmt.Errorf("answer: %s.%s was not asked for", at, key))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		f := fields[key]
		got, present := answer[key]
		switch {
		case !present && !f.optional:
			problems = append(problems, fmt.Errorf("answer: %s.%s is missing", at, key))
		case present && f.field.Name != "__typename":
			problems = append(problems, c.value(at+"."+key, got, f.field.Definition.Type, f.children)...)
		}
	}
	return problems
}

// value holds one value to its type.
func (c *Contract) value(at string, value any, t *ast.Type, children []ast.SelectionSet) []error {
	if value == nil {
		if t.NonNull {
			return []error{fmt.Errorf("answer: %s is null, its type is %s", at, t)}
		}
		return nil
	}
	if t.Elem != nil {
		list, ok := value.([]any)
		if !ok {
			return []error{fmt.Errorf("answer: %s is no list, its type is %s", at, t)}
		}
		var problems []error
		for i, v := range list {
			problems = append(problems, c.value(fmt.Sprintf("%s[%d]", at, i), v, t.Elem, children)...)
		}
		return problems
	}
	definition := c.schema.Types[t.NamedType]
	good := true
	switch definition.Kind {
	case ast.Object, ast.Interface, ast.Union:
		return c.shape(at, value, definition, children)
	case ast.Enum:
		s, ok := value.(string)
		good = ok && definition.EnumValues.ForName(s) != nil
	case ast.Scalar:
		switch t.NamedType {
		case "Boolean":
			_, good = value.(bool)
		case "Int":
			n, ok := value.(json.Number)
			_, err := n.Int64()
			good = ok && err == nil
		case "Float":
			_, good = value.(json.Number)
		default: // ID, String and GitHub's own, which are all strings but BigInt
			_, good = value.(string)
		}
	}
	if !good {
		return []error{fmt.Errorf("answer: %s is %v, its type is %s", at, value, t)}
	}
	return nil
}
