package main

import (
	"slices"
	"strings"
)

// grant is a role that a resource of Google Cloud gives to members.
type grant struct {
	role    Value
	members []Value
}

// googleGrants are what an IAM resource grants: one member, a binding with several, or a policy with bindings
// from a data source or a JSON text. hidden says why there may be others.
func googleGrants(r *Resource) (all []grant, hidden []Result) {
	switch {
	case strings.HasSuffix(r.Type, "_iam_member"):
		return []grant{{role: r.Attr("role"), members: elements(r.Attr("member"))}}, nil
	case strings.HasSuffix(r.Type, "_iam_binding"):
		return []grant{{role: r.Attr("role"), members: elements(r.Attr("members"))}}, nil
	}
	v := r.Attr("policy_data")
	document, ok := v.JSON()
	switch {
	case v.Null() || !ok:
		return nil, nil
	case document.Unknown():
		sources := v.Resources()
		if len(sources) != 1 || len(v.origins) != 1 || sources[0].Mode != Data || sources[0].Type != "google_iam_policy" {
			return nil, []Result{document.undecided()}
		}
		blocks := sources[0].Blocks("binding")
		for _, b := range blocks.All {
			all = append(all, grant{role: b.Attr("role"), members: elements(b.Attr("members"))})
		}
		if blocks.Unknown != "" {
			hidden = append(hidden, blocks.undecided())
		}
		return all, hidden
	}
	for _, b := range elements(document.Key("bindings")) {
		if b.Unknown() {
			hidden = append(hidden, b.undecided())
			continue
		}
		all = append(all, grant{role: b.Key("role"), members: elements(b.Key("members"))})
	}
	return all, hidden
}

// grantsNone demands that nothing is granted whose role and member are as they must not be. Both fail where it is so.
func grantsNone(badRole, badMember func(Value) Result) demand {
	return func(r *Resource) Result {
		all, results := googleGrants(r)
		for _, g := range all {
			for _, member := range g.members {
				results = append(results, both(badMember(member), badRole(g.role)))
			}
		}
		return every(results...)
	}
}

// whatever fails, whatever the value is.
func whatever(v Value) Result { return v.fails("%s is %s", v.path, v.Show()) }

// role fails for roles that are as bad says. A role that is made here is a custom one, and never is.
func role(bad func(string) bool) func(Value) Result {
	return func(v Value) Result {
		if v.fromResources() {
			return pass()
		}
		return anyOfValues([]Value{v}, bad)
	}
}

// isPublic fails for Google Cloud's words for everybody. A member that belongs to a resource, or of which it is known
// how it begins, is somebody.
func isPublic(v Value) Result {
	if v.Unknown() && (v.fromResources() || v.cannotBe("allUsers", "allAuthenticatedUsers")) {
		return pass()
	}
	return anyOfValues([]Value{v}, isPublicMember)
}

// isUser fails for a member that is a person.
func isUser(v Value) Result {
	if v.Unknown() && (v.beginning() != "" && !v.mayBegin("user:") || v.fromResources() && slices.ContainsFunc(v.Resources(), isServiceAccount)) {
		return pass()
	}
	return anyOfValues([]Value{v}, func(member string) bool { return strings.HasPrefix(member, "user:") })
}

// isDefault fails for a service account that Google makes for a project, by its name or by the data source that
// finds it. A service account that is made here is none of those.
func isDefault(v Value) Result {
	if !v.fromResources() {
		return anyOfValues([]Value{v}, isDefaultAccount)
	}
	for _, r := range v.Resources() {
		if r.Mode == Data && strings.HasSuffix(r.Type, "_default_service_account") {
			return v.fails("%s is the default service account", v.path)
		}
	}
	return pass()
}

// mayBegin says of a text that is not known whole whether it may begin with another.
func (v Value) mayBegin(start string) bool {
	known := v.beginning()
	return strings.HasPrefix(known, start) || strings.HasPrefix(start, known)
}

func isServiceAccount(r *Resource) bool { return strings.HasSuffix(r.Type, "_service_account") }

func isPublicMember(member string) bool {
	return member == "allUsers" || member == "allAuthenticatedUsers"
}

// isDefaultAccount says whether a member is one of the service accounts that Google makes for a project.
func isDefaultAccount(member string) bool {
	return strings.HasSuffix(member, "-compute@developer.gserviceaccount.com") || strings.HasSuffix(member, "@appspot.gserviceaccount.com")
}

func isBasicRole(role string) bool {
	return slices.Contains([]string{"roles/owner", "roles/editor"}, role)
}

func isImpersonation(role string) bool {
	return slices.Contains([]string{"roles/iam.serviceAccountUser", "roles/iam.serviceAccountTokenCreator", "roles/iam.workloadIdentityUser"}, role)
}

// iamTypes are the three IAM resources of each of some resources.
func iamTypes(bases ...string) []string {
	var types []string
	for _, base := range bases {
		types = append(types, base+"_iam_member", base+"_iam_binding", base+"_iam_policy")
	}
	return types
}

// databaseFlag demands something of a flag of a Cloud SQL database, which is unset where it is not named.
func databaseFlag(name, unset string, good func(string) bool) demand {
	return func(r *Resource) Result {
		blocks := r.blockAt("settings").Blocks("database_flags")
		at := r.blockAt("settings").Value()
		for _, b := range blocks.All {
			v := b.Attr("value")
			text, _ := v.Text()
			switch called, _ := b.Attr("name").Text(); {
			case b.Attr("name").Unknown():
				return b.Attr("name").undecided()
			case called != name:
				continue
			case v.Unknown():
				return v.undecided()
			case good(text):
				return pass()
			default:
				return v.fails("the flag %s is %s", name, v.Show())
			}
		}
		switch {
		case blocks.Unknown != "":
			return blocks.undecided()
		case good(unset):
			return pass()
		default:
			return at.fails("the flag %s is not set, and it is %s by default", name, unset)
		}
	}
}

// metadata demands that the metadata of a machine has a key with one of some values. unset is what it is without.
func metadata(key, unset string, wanted ...string) demand {
	return func(r *Resource) Result {
		v := r.Attr("metadata").Key(key)
		text, ok := v.Text()
		switch {
		case v.Unknown():
			return v.undecided()
		case ok && isAmong(text, wanted), v.Null() && isAmong(unset, wanted):
			return pass()
		case v.Null():
			return v.unset(unset)
		default:
			return v.fails("%s is %s", v.path, v.Show())
		}
	}
}

// isEngine holds of Cloud SQL databases of one kind.
func isEngine(kind string) demand {
	return isText("database_version", "", func(version string) bool { return strings.HasPrefix(version, kind) }, "")
}

// isPrimary holds of Cloud SQL databases that are no replicas, which take settings from their primary.
func isPrimary(r *Resource) Result { return isUnset("master_instance_name")(r) }

// whereNodes demands something of each node_config of a cluster or node pool. Autopilot makes nodes as it should.
func whereNodes(want demand) demand {
	return unless(isOn("enable_autopilot", false), allOf(inEach("node_config", want), inEach("node_pool.node_config", want)))
}

// notAutopilot demands something of clusters whose nodes are not Google's own business.
func notAutopilot(want demand) demand { return unless(isOn("enable_autopilot", false), want) }
