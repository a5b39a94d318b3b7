package main

import "strings"

// hidden stands for a sensitive value where policies look.
const hidden = "(sensitive value)"

// hideSensitive takes out of a plan, a state or a configuration what it marks as sensitive: the values that a mask
// beside them says, the values and defaults of sensitive variables and outputs, and copies of these texts elsewhere,
// as the constants of the configuration in a plan. What is null or empty stays, so that policies see that it is not set.
func hideSensitive(content any) {
	h := hider{secrets: map[string]bool{}}
	h.hideVariables(content)
	h.visit(content)
	if len(h.secrets) > 0 {
		h.hideCopies(content)
	}
}

// hider remembers the texts that it hid.
type hider struct{ secrets map[string]bool }

// masks are the members of a plan's objects that say what of another member is sensitive.
func masks() map[string]string {
	return map[string]string{"sensitive_values": "values", "before_sensitive": "before", "after_sensitive": "after"}
}

func (h hider) visit(v any) {
	switch v := v.(type) {
	case map[string]any:
		for mask, values := range masks() {
			if m, ok := v[mask]; ok && v[values] != nil {
				v[values] = h.hide(v[values], m)
			}
		}
		if v["sensitive"] == true {
			for _, field := range []string{"value", "default"} {
				if value, ok := v[field]; ok && !isExpression(value) {
					v[field] = h.hide(value, true)
				}
			}
		}
		for _, value := range v {
			h.visit(value)
		}
	case []any:
		for _, item := range v {
			h.visit(item)
		}
	}
}

// hideVariables hides in a plan the values of variables that its configuration declares sensitive.
func (h hider) hideVariables(content any) {
	plan, _ := content.(map[string]any)
	configuration, _ := plan["configuration"].(map[string]any)
	root, _ := configuration["root_module"].(map[string]any)
	declared, _ := root["variables"].(map[string]any)
	given, _ := plan["variables"].(map[string]any)
	for name, declaration := range declared {
		d, _ := declaration.(map[string]any)
		if variable, ok := given[name].(map[string]any); ok && d["sensitive"] == true {
			variable["value"] = h.hide(variable["value"], true)
		}
	}
}

// isExpression says whether a value of HCL is an expression, which says where a value comes from and not what it is.
func isExpression(v any) bool {
	s, ok := v.(string)
	return ok && strings.HasPrefix(s, "${") && strings.HasSuffix(s, "}") && strings.Count(s, "${") == 1
}

// hide replaces what the mask says: true is the value itself, a list or an object speaks of what is in it.
func (h hider) hide(v, mask any) any {
	switch m := mask.(type) {
	case bool:
		if m {
			return h.hideAll(v)
		}
	case map[string]any:
		if object, ok := v.(map[string]any); ok {
			for key, inner := range m {
				if value, ok := object[key]; ok {
					object[key] = h.hide(value, inner)
				}
			}
		}
	case []any:
		if list, ok := v.([]any); ok {
			for i := range min(len(list), len(m)) {
				list[i] = h.hide(list[i], m[i])
			}
		}
	}
	return v
}

// hideAll replaces a value, whatever it is made of, and remembers its texts.
func (h hider) hideAll(v any) any {
	switch v := v.(type) {
	case nil:
		return nil
	case string:
		if v == "" {
			return v
		}
		if len(v) >= minHidden && len(h.secrets) < maxCopied {
			h.secrets[v] = true
		}
	case map[string]any:
		for _, value := range v {
			h.hideAll(value)
		}
	case []any:
		for _, item := range v {
			h.hideAll(item)
		}
	}
	return hidden
}

// hideCopies replaces in every text what was hidden elsewhere.
func (h hider) hideCopies(content any) {
	var pairs []string
	for secret := range h.secrets {
		if len(secret) >= minCopied {
			pairs = append(pairs, secret, hidden)
		}
	}
	replacer := strings.NewReplacer(pairs...)
	var visit func(any) any
	visit = func(v any) any {
		switch v := v.(type) {
		case string:
			if h.secrets[v] {
				return hidden
			}
			return replacer.Replace(v)
		case map[string]any:
			for key, value := range v {
				v[key] = visit(value)
			}
		case []any:
			for i, item := range v {
				v[i] = visit(item)
			}
		}
		return v
	}
	visit(content)
}
