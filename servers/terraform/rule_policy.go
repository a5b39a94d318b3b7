package main

import (
	"regexp"
	"slices"
	"strings"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// statement is one statement of an IAM policy of AWS, from a JSON text or from a data source that makes one.
type statement struct {
	at            Value // where a finding about it points
	effect        Value
	actions       []Value
	notActions    []Value
	resources     []Value
	notResources  []Value
	principals    []principal
	notPrincipals []principal
	conditions    conditions
}

// principal is whom a statement is about.
type principal struct {
	kind string // AWS, Service, Federated, *; "" where it is not known
	id   Value
}

// conditions say whether a statement has any, and what they are, by operator and key.
type conditions struct {
	unknown *Result
	all     []condition
}

type condition struct {
	operator, key string
	values        []Value
}

// policyDocument is the data source that makes policies.
const policyDocument = "aws_iam_policy_document"

// statements are those of the policy that an attribute holds; hidden says why there may be others.
func statements(v Value) (all []statement, hidden []Result) {
	return statementsWithin(v, map[*Resource]bool{})
}

// statementsWithin does not look twice into a data source that policies are put together from: it would say the same.
func statementsWithin(v Value, seen map[*Resource]bool) ([]statement, []Result) {
	if v.Null() {
		return nil, nil
	}
	document, ok := v.JSON()
	switch {
	case !ok:
		return nil, nil // no JSON: the provider refuses it
	case document.Unknown():
		return documentStatements(document, seen)
	}
	list := document.Key("Statement")
	if list.Unknown() {
		return nil, []Result{list.undecided()}
	}
	var all []statement
	var hidden []Result
	for _, s := range list.Elements() {
		if s.Unknown() {
			hidden = append(hidden, s.undecided())
			continue
		}
		all = append(all, jsonStatement(s))
	}
	return all, hidden
}

func jsonStatement(s Value) statement {
	return statement{
		at: s, effect: s.Key("Effect"),
		actions: elements(s.Key("Action")), notActions: elements(s.Key("NotAction")),
		resources: elements(s.Key("Resource")), notResources: elements(s.Key("NotResource")),
		principals: jsonPrincipals(s.Key("Principal")), notPrincipals: jsonPrincipals(s.Key("NotPrincipal")),
		conditions: jsonConditions(s.Key("Condition")),
	}
}

func jsonPrincipals(v Value) []principal {
	if !v.IsMap() {
		var all []principal
		for _, id := range elements(v) {
			kind := ""
			if text, ok := id.Text(); ok {
				kind = text
			}
			all = append(all, principal{kind: kind, id: id})
		}
		return all
	}
	var all []principal
	for _, kind := range v.Keys() {
		for _, id := range elements(v.key(kind)) {
			all = append(all, principal{kind: kind, id: id})
		}
	}
	return all
}

func jsonConditions(v Value) conditions {
	if v.Unknown() {
		hidden := v.undecided()
		return conditions{unknown: &hidden}
	}
	var out conditions
	for _, operator := range v.Keys() {
		keys := v.key(operator)
		for _, key := range keys.Keys() {
			out.all = append(out.all, condition{operator: operator, key: key, values: elements(keys.key(key))})
		}
		if keys.Unknown() {
			hidden := keys.undecided()
			out.unknown = &hidden
		}
	}
	return out
}

// documentStatements are those of the data source that a policy comes from.
func documentStatements(v Value, seen map[*Resource]bool) ([]statement, []Result) {
	sources := v.Resources()
	single := len(sources) == 1 && len(v.origins) == 1 && sources[0].Mode == Data && sources[0].Type == policyDocument
	if !single || len(seen) >= maxPolicyDocuments {
		return nil, []Result{v.undecided()}
	}
	document := sources[0]
	if seen[document] {
		return nil, nil
	}
	seen[document] = true
	var all []statement
	var hidden []Result
	blocks := document.Blocks("statement")
	for _, b := range blocks.All {
		all = append(all, blockStatement(b))
	}
	if blocks.Unknown != "" {
		hidden = append(hidden, blocks.undecided())
	}
	for _, path := range []string{"source_policy_documents", "override_policy_documents", "source_json", "override_json"} {
		for _, part := range elements(document.Attr(path)) {
			more, why := statementsWithin(part, seen)
			all, hidden = append(all, more...), append(hidden, why...)
		}
	}
	return all, hidden
}

func blockStatement(b Block) statement {
	s := statement{
		at: b.Value(), effect: b.Attr("effect"),
		actions: elements(b.Attr("actions")), notActions: elements(b.Attr("not_actions")),
		resources: elements(b.Attr("resources")), notResources: elements(b.Attr("not_resources")),
		principals: blockPrincipals(b.Blocks("principals")), notPrincipals: blockPrincipals(b.Blocks("not_principals")),
	}
	conditions := b.Blocks("condition")
	for _, c := range conditions.All {
		operator, _ := c.Attr("test").Text()
		key, known := c.Attr("variable").Text()
		if !known {
			hidden := c.Attr("variable").undecided()
			s.conditions.unknown = &hidden
			continue
		}
		s.conditions.all = append(s.conditions.all, condition{operator: operator, key: key, values: elements(c.Attr("values"))})
	}
	if conditions.Unknown != "" {
		hidden := conditions.undecided()
		s.conditions.unknown = &hidden
	}
	return s
}

func blockPrincipals(blocks Blocks) []principal {
	var all []principal
	for _, b := range blocks.All {
		kind, _ := b.Attr("type").Text()
		for _, id := range elements(b.Attr("identifiers")) {
			all = append(all, principal{kind: kind, id: id})
		}
	}
	if blocks.Unknown != "" {
		all = append(all, principal{id: Value{path: blocks.Path, place: blocks.Place, reason: blocks.Unknown}})
	}
	return all
}

// allows fails where the statement allows, for [both]. Allow is what a data source's statement does by default.
func (s statement) allows() Result { return s.effect.is("Allow", "Allow") }

// unconditional fails where a statement has no condition that bounds who may use it.
func (s statement) unconditional() Result {
	switch {
	case slices.ContainsFunc(s.conditions.all, condition.bounds):
		return pass()
	case s.conditions.unknown != nil:
		return *s.conditions.unknown
	default:
		return s.at.fails("a statement has no condition")
	}
}

// bounds says whether a condition is one that not everybody fulfils. Everybody may use TLS, log in with a second
// factor, have an address or wait for a time; and a condition that excludes somebody still admits the others.
func (c condition) bounds() bool {
	operator := strings.ToLower(c.operator)
	everybody := []string{"aws:SecureTransport", "s3:TlsVersion", "aws:CurrentTime", "aws:EpochTime", "aws:MultiFactorAuthPresent", "aws:MultiFactorAuthAge", "aws:RequestedRegion", "aws:UserAgent"}
	return !isAmong(c.key, everybody) && !strings.Contains(operator, "not") && !strings.HasPrefix(operator, "null") &&
		anyOfValues(c.values, func(v string) bool { return isEverything(v) || isWorld(v) }).Verdict != finding.Fail
}

// forAnybody fails where a statement is about everybody: principal *, or any account.
func (s statement) forAnybody() Result {
	var results []Result
	for _, p := range s.principals {
		if p.kind != "*" && !strings.EqualFold(p.kind, "AWS") && p.kind != "" {
			continue
		}
		results = append(results, star(p.id))
	}
	if len(s.notPrincipals) > 0 {
		results = append(results, s.notPrincipals[0].id.fails("a statement is about all but some principals"))
	}
	return every(results...)
}

// star fails for a text that is *. One that is not known, but begins with arn: or belongs to a resource, is not.
func star(v Value) Result {
	text, ok := v.Text()
	switch {
	case v.Unknown() && (v.fromResources() || v.cannotBe("*")):
		return pass()
	case v.Unknown():
		return v.undecided()
	case ok && isEverything(text):
		return v.fails("%s is %s", v.path, v.Show())
	default:
		return pass()
	}
}

// everyARN is an ARN whose service, region, account and resource are all *.
var everyARN = regexp.MustCompile(`^arn:[a-z*-]*(?::\*+)+$`)

// isEverything says whether a pattern fits all resources or principals.
func isEverything(pattern string) bool {
	return pattern != "" && strings.Trim(pattern, "*") == "" || everyARN.MatchString(pattern)
}

// everything fails where one of some texts is *.
func everything(values []Value) Result {
	var results []Result
	for _, v := range values {
		results = append(results, star(v))
	}
	return every(results...)
}

// actsAs fails where the statement's actions are as bad says.
func (s statement) actsAs(bad func(action string) bool) Result { return anyOfValues(s.actions, bad) }

// wholeService says whether an action is every action: of all services, or of one.
func wholeService(action string) bool {
	_, name, _ := strings.Cut(action, ":")
	return isEveryAction(action) || name != "" && strings.Trim(name, "*") == ""
}

// isEveryAction says whether an action is all actions of all services.
func isEveryAction(action string) bool { return action != "" && strings.Trim(action, "*:") == "" }

// policyAt demands something of every statement of the policies that attributes hold. bad fails for a statement
// that is not as demanded. A step of a path that is a block stands for every such block.
func policyAt(bad func(statement) Result, paths ...string) demand {
	return func(r *Resource) Result {
		var results []Result
		for _, path := range paths {
			results = append(results, policyOf(path, bad)(r))
		}
		return every(results...)
	}
}

func policyOf(path string, bad func(statement) Result) demand {
	if before, after, nested := cutLast(path); nested {
		return inEach(before, policyOf(after, bad))
	}
	return func(r *Resource) Result {
		all, results := statements(r.Attr(path))
		for _, s := range all {
			result := bad(s)
			if result.Verdict == finding.Fail && result.At.File == "" {
				result.At = r.Attr(path).Location()
			}
			results = append(results, result)
		}
		return every(results...)
	}
}

// because gives a failing result its words.
func (r Result) because(message string) Result {
	if r.Verdict == finding.Fail {
		r.Message, r.more = message, nil
	}
	return r
}

// openToAnybody fails for a statement that lets everybody do something, on no condition.
func openToAnybody(s statement) Result {
	return both(s.forAnybody(), s.allows(), s.unconditional()).because("a statement lets everybody in, on no condition")
}

// administers fails for a statement that allows every action on every resource.
func administers(s statement) Result {
	actions := s.actsAs(isEveryAction)
	return both(actions, everything(s.resources), s.allows()).because("a statement allows every action on every resource")
}

// allowsWholeService fails for a statement that allows all actions of a service on every resource.
func allowsWholeService(s statement) Result {
	actions := s.actsAs(func(action string) bool { return wholeService(action) && !isEveryAction(action) })
	return both(actions, everything(s.resources), s.allows()).because("a statement allows all actions of a service on every resource")
}

// passesAnyRole fails for a statement that lets its holder give any role to a service.
func passesAnyRole(s statement) Result {
	actions := s.actsAs(func(action string) bool { return strings.EqualFold(action, "iam:PassRole") })
	return both(actions, everything(s.resources), s.allows(), s.unconditional()).because("a statement allows iam:PassRole on every resource")
}

// allowsAllBut fails for a statement that allows whatever it does not name.
func allowsAllBut(s statement) Result {
	if len(s.notActions) == 0 {
		return pass()
	}
	return both(s.notActions[0].fails(""), s.allows(), everything(s.resources)).because("a statement allows all actions but some (NotAction) on every resource")
}

// deniesPlainHTTP passes for a statement that refuses requests without TLS.
func deniesPlainHTTP(s statement) Result {
	refused := s.at.fails("no condition on aws:SecureTransport")
	if s.conditions.unknown != nil {
		refused = *s.conditions.unknown
	}
	for _, c := range s.conditions.all {
		if strings.EqualFold(c.key, "aws:SecureTransport") {
			refused = best(refused, anyOfValues(c.values, func(text string) bool { return text == "false" }).turned(s.at))
		}
	}
	return every(s.effect.is("Deny", "Allow").turned(s.at), refused)
}

// turned passes where a result fails and the other way round.
func (r Result) turned(at Value) Result {
	switch r.Verdict {
	case finding.Fail:
		return pass()
	case finding.Pass:
		return at.fails("it is not so")
	default:
		return r
	}
}

// policyHas demands that some statement of the policy is as wanted. missing is what is wrong where none is.
func policyHas(path, missing string, wanted func(statement) Result) demand {
	return func(r *Resource) Result {
		v := r.Attr(path)
		all, hidden := statements(v)
		results := append([]Result{v.fails("%s", missing)}, hidden...)
		for _, s := range all {
			results = append(results, wanted(s))
		}
		return best(results...).because(missing)
	}
}

// trustsAnyRepository fails for a statement that lets GitHub workflows of any repository in: one about GitHub's
// token issuer without a condition on the subject, or with one that * fits.
func trustsAnyRepository(s statement) Result {
	const issuer, subject = "token.actions.githubusercontent.com", "token.actions.githubusercontent.com:sub"
	var issuers []Result
	for _, p := range s.principals {
		if p.kind == "Federated" || p.kind == "" {
			issuers = append(issuers, issuedBy(p.id, issuer))
		}
	}
	fromGitHub := every(issuers...)
	for _, c := range s.conditions.all {
		if strings.HasPrefix(strings.ToLower(c.key), issuer) && fromGitHub.Verdict != finding.Fail {
			fromGitHub = s.at.fails("the issuer is GitHub")
		}
	}
	unbound := s.at.fails("no condition on %s", subject)
	for _, c := range s.conditions.all {
		if strings.EqualFold(c.key, subject) {
			unbound = anyOfValues(c.values, func(pattern string) bool {
				owner, _, _ := strings.Cut(strings.TrimPrefix(pattern, "repo:"), "/")
				return owner == pattern || strings.ContainsAny(owner, "*?")
			})
		}
	}
	if unbound.Verdict == finding.Fail && s.conditions.unknown != nil {
		unbound = *s.conditions.unknown
	}
	return both(fromGitHub, unbound, s.allows()).because("workflows of any repository on GitHub may take the role")
}

// issuedBy fails where a principal is a provider of tokens of an issuer, by its ARN or by the resource that makes it.
func issuedBy(id Value, issuer string) Result {
	if !id.fromResources() {
		return anyOfValues([]Value{id}, func(arn string) bool { return strings.Contains(arn, issuer) })
	}
	var results []Result
	for _, r := range id.Resources() {
		results = append(results, anyElement(r.Attr("url"), func(url string) bool { return strings.Contains(url, issuer) }))
	}
	return every(results...)
}
