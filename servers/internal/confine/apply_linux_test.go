//go:build linux && (amd64 || arm64)

package confine

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

func pemEncode(kind string, data []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data})
}

// applied is what a child says of Apply.
type applied struct {
	Report Report
	Error  string
	Took   time.Duration
	Again  string // the error of a second Apply

	NoFilter, NoLandlock bool // what Error wraps
}

func applyChild(input []byte) error {
	var rules Rules
	if err := json.Unmarshal(input, &rules); err != nil {
		return err
	}
	begin := time.Now()
	report, err := Apply(rules)
	said := applied{Report: report, Took: time.Since(begin)}
	if err != nil {
		said.Error = err.Error()
	} else if _, err := Apply(rules); err != nil {
		said.Again = err.Error()
	}
	return say(said)
}

func TestApplyRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name  string
		rules Rules
		want  []string
	}{
		{"a missing folder", Rules{Read: []string{dir + "/no"}}, []string{dir + "/no", "no such file", "mount or make it"}},
		{"a missing folder to write in", Rules{Write: []string{dir + "/no"}}, []string{dir + "/no", "no such file"}},
		{"a file to write in", Rules{Write: []string{file}}, []string{file, "is not a folder"}},
		{"a socket without a folder", Rules{Connect: []string{"/nonexistent/s"}}, []string{"/nonexistent", "mount or make it"}},
		{"a relative socket", Rules{Connect: []string{"s"}}, []string{`"s"`, "absolute"}},
		{"an abstract socket", Rules{Connect: []string{"@s"}}, []string{`"@s"`, "absolute"}},
		{"an overlong socket", Rules{Connect: []string{"/" + strings.Repeat("x", 107)}}, []string{"108 characters"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := tc.rules.plan()
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}

func TestApplyTwice(t *testing.T) {
	needLandlock(t, 1)
	var got applied
	child(t, "apply", Rules{}, &got)
	if got.Error != "" || !strings.Contains(got.Again, "operation not permitted") {
		t.Errorf("first %q, then %q", got.Error, got.Again)
	}
	t.Logf("Apply took %v", got.Took)
}

// shorn is a kernel with less: these calls end with that error, which may be 0 for a success that is none.
type shorn struct {
	Rules Rules
	Calls []uint32
	Errno uint32
}

func shornChild(input []byte) error {
	var s shorn
	if err := json.Unmarshal(input, &s); err != nil {
		return err
	}
	instructions := []bpf.Instruction{bpf.LoadAbsolute{Off: offsetNr, Size: sizeofWord}}
	for _, nr := range s.Calls {
		instructions = append(instructions,
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: nr, SkipTrue: 1},
			bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | s.Errno})
	}
	raw, err := bpf.Assemble(append(instructions, bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}))
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	if err := errors.Join(unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), install(raw)); err != nil {
		return err
	}
	runtime.UnlockOSThread()
	said := applied{}
	if said.Report, err = Apply(s.Rules); err != nil {
		said.Error = err.Error()
		said.NoFilter, said.NoLandlock = errors.Is(err, ErrNoFilter), errors.Is(err, ErrNoLandlock)
	}
	return say(said)
}

func TestKernelThatLacksSomething(t *testing.T) {
	needLandlock(t, 1)
	landlockCalls := []uint32{unix.SYS_LANDLOCK_CREATE_RULESET}
	seccomp := []uint32{unix.SYS_SECCOMP}
	both := slices.Concat(landlockCalls, seccomp)
	socket := shortSocket(t)
	optional := Rules{LandlockOptional: true, FilterOptional: true, Connect: []string{socket}, Write: []string{t.TempDir()}}
	for _, tc := range []struct {
		name                 string
		shorn                shorn
		noFilter, noLandlock bool
		gaps                 []string // parts of each
	}{
		{"no Landlock", shorn{Rules{}, landlockCalls, uint32(unix.ENOSYS)}, false, true, nil},
		{"Landlock switched off at boot", shorn{Rules{}, landlockCalls, uint32(unix.EOPNOTSUPP)}, false, true, nil},
		{"Landlock refused by a profile", shorn{Rules{}, landlockCalls, uint32(unix.EPERM)}, false, true, nil},
		{"no filter", shorn{Rules{}, seccomp, uint32(unix.ENOSYS)}, true, false, nil},
		{"filter refused by a profile", shorn{Rules{LandlockOptional: true}, seccomp, uint32(unix.EPERM)}, true, false, nil},
		{"a filter that is taken and not applied", shorn{Rules{}, seccomp, 0}, true, false, nil},
		{"Landlock that is taken and not applied", shorn{Rules{}, []uint32{unix.SYS_LANDLOCK_RESTRICT_SELF}, 0}, false, true, nil},
		{"no filter, but the other optional", shorn{Rules{LandlockOptional: true}, both, uint32(unix.ENOSYS)}, true, false, nil},
		{"no Landlock, which is optional", shorn{Rules{LandlockOptional: true}, landlockCalls, uint32(unix.ENOSYS)}, false, false,
			[]string{"can be read"}},
		{"no Landlock, with everything", shorn{optional, landlockCalls, uint32(unix.ENOSYS)}, false, false,
			[]string{"can be read", "can be written", "abstract", "other Unix sockets"}},
		{"neither, both optional", shorn{optional, both, uint32(unix.ENOSYS)}, false, false,
			[]string{"can be read", "programs can be run", "can be written", "abstract", "other Unix sockets"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got applied
			child(t, "shorn", tc.shorn, &got)
			if got.NoFilter != tc.noFilter || got.NoLandlock != tc.noLandlock || got.Error != "" && !tc.noFilter && !tc.noLandlock {
				t.Fatalf("error %q, want no filter: %t, no Landlock: %t", got.Error, tc.noFilter, tc.noLandlock)
			}
			if len(got.Report.Gaps) != len(tc.gaps) {
				t.Fatalf("%d gaps, want %d: %q", len(got.Report.Gaps), len(tc.gaps), got.Report.Gaps)
			}
			for i, want := range tc.gaps {
				if !strings.Contains(got.Report.Gaps[i], want) {
					t.Errorf("the gap %q does not say %q", got.Report.Gaps[i], want)
				}
			}
			if tc.noFilter || tc.noLandlock {
				return
			}
			if filtered := slices.Equal(tc.shorn.Calls, landlockCalls); filtered != (got.Report.Filter.Digest != "") {
				t.Errorf("the report says of the filter: %q", got.Report.Filter.Digest)
			}
			if got.Report.Landlock.ABI != 0 || got.Report.Landlock.Write != nil {
				t.Errorf("the report says of Landlock: %+v", got.Report.Landlock)
			}
		})
	}
}

func TestReport(t *testing.T) {
	needLandlock(t, 1)
	dir, socket := t.TempDir(), shortSocket(t)
	var got applied
	child(t, "apply", Rules{Read: []string{dir}, Connect: []string{socket}}, &got)
	if got.Error != "" {
		t.Fatal(got.Error)
	}
	var again applied
	child(t, "apply", Rules{Read: []string{dir}, Connect: []string{socket}}, &again)
	if got.Report.Filter.Digest != again.Report.Filter.Digest {
		t.Error("two processes with the same rules have different digests")
	}
	child(t, "apply", Rules{Read: []string{dir}}, &again)
	if got.Report.Filter.Digest == again.Report.Filter.Digest {
		t.Error("two processes with different rules have the same digest")
	}
	abi, err := landlockABI()
	if err != nil || got.Report.Landlock.ABI != abi {
		t.Errorf("ABI %d, want %d, %v", got.Report.Landlock.ABI, abi, err)
	}
	t.Logf("Landlock ABI %d, %d calls allowed, %d limited", abi, len(got.Report.Filter.Allowed), len(got.Report.Filter.Limited))
	var line strings.Builder
	slog.New(slog.NewJSONHandler(&line, nil)).LogAttrs(t.Context(), slog.LevelInfo, "confined", slog.Any("confine", got.Report))
	for _, want := range []string{`"read":["` + dir + `"]`, `"filter":"` + got.Report.Filter.Digest + `"`, `"landlock_abi":`} {
		if !strings.Contains(line.String(), want) {
			t.Errorf("%s does not hold %s", line.String(), want)
		}
	}
}
