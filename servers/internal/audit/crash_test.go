package audit

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
)

var kills = flag.Int("audit.kills", 50, "how often TestKill kills a writing process")

func testKey(t testing.TB) (note.Signer, note.Verifier) {
	t.Helper()
	private, public, err := note.GenerateKey(rand.Reader, "example.com/test")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := note.NewVerifier(public)
	if err != nil {
		t.Fatal(err)
	}
	return signer, verifier
}

// call is a record with that id, and its result.
func call(id string) (Record, []byte) {
	content := []byte("the result of " + id + strings.Repeat(" and so on", len(id)%7))
	sum := sha256.Sum256(content)
	return Record{
		Time: time.Now(), Call: id, Principal: "agent", Server: "kubernetes", Tool: "kubernetes_check", Transport: "unix",
		Decision: Allow, Reason: "ok", DurationUS: 12, Result: &Result{Bytes: len(content), SHA256: hex.EncodeToString(sum[:])},
	}, content
}

type nothing struct{}

func (nothing) Close() error { return nil }

// lost says which of the acknowledged calls the log does not have, with their results, and what else is wrong.
func lost(folder files, verifier note.Verifier, acknowledged map[string]bool) error {
	left := map[string]bool{}
	for id := range acknowledged {
		left[id] = true
	}
	var expired uint64
	var problems []error
	err := read(folder, Filter{}, func(r Record, _ []byte) error {
		if r.Expired != nil {
			expired = max(expired, r.Expired.To)
		}
		if !acknowledged[r.Call] {
			return nil
		}
		delete(left, r.Call)
		if _, content := call(r.Call); r.Result.Stored {
			if got, err := (&Results{folder: folder}).Read(r); err != nil || string(got) != string(content) {
				problems = append(problems, fmt.Errorf("%s: result %q: %w", r.Call, got, err))
			}
		}
		return nil
	})
	problems = append(problems, err)
	if len(left) > 0 && expired == 0 {
		problems = append(problems, fmt.Errorf("acknowledged and lost: %v", left))
	}
	report, err := verify(folder, verifier, nil)
	problems = append(problems, err)
	for _, f := range report.Findings {
		problems = append(problems, errors.New(f.String()))
	}
	return errors.Join(problems...)
}

// crash cuts the power at an operation while a log is written, and again at one while it is opened. It says what was
// lost of what had been acknowledged, and whether the first cut came too late to matter.
func crash(t *testing.T, options Options, cut, mode int, liar string) (over bool, problem error) {
	random := mathrand.New(mathrand.NewPCG(uint64(cut), uint64(mode)))
	folder := newRAM()
	folder.cut, folder.liar = cut, liar
	acknowledged := map[string]bool{}
	var served uint64 // size of a checkpoint that somebody outside may have
	write := func(folder *ram, round int) error {
		l, err := open(folder, nothing{}, options)
		if err != nil {
			return err
		}
		for i := range 12 {
			r, content := call(fmt.Sprintf("%d-%d", round, i))
			if err := l.Record(t.Context(), r, content); err == nil {
				acknowledged[r.Call] = true
			}
			if c, err := openCheckpoint(l.Checkpoint(), options.Verifier); err == nil {
				served = c.size
			}
		}
		return l.Close()
	}
	_ = write(folder, 0) // it fails when the power does
	over = folder.ops <= cut
	for round := 1; round <= 2; round++ {
		folder = folder.reboot(mode, random)
		folder.liar = liar
		folder.cut = random.IntN(20)
		_ = write(folder, round)
	}
	folder = folder.reboot(mode, random)
	if notes, err := folder.open(checkpointsName); err == nil && served > 0 {
		if signed, _, err := newest(notes, options.Verifier); err != nil || len(signed) == 0 || signed[len(signed)-1].size < served {
			return over, fmt.Errorf("the checkpoint of %d records was served and is lost: %w", served, err)
		}
	}
	if err := write(folder, 3); err != nil {
		return over, fmt.Errorf("it does not open again: %w", err)
	}
	return over, lost(folder, options.Verifier, acknowledged)
}

func crashOptions(t *testing.T) map[string]Options {
	signer, verifier := testKey(t)
	options := Options{Signer: signer, Verifier: verifier, segment: 1500, records: 3, interval: time.Hour}
	expiring := options
	expiring.MaxBytes = 6000
	large := options
	large.segment = maxSegment
	return map[string]Options{"segments": options, "expiry": expiring, "one segment": large}
}

// Whenever the power goes and whatever then is left of what was not synced: what was acknowledged is there, and the
// log opens.
func TestPowerCut(t *testing.T) {
	for name, options := range crashOptions(t) {
		for mode := range tearing {
			t.Run(fmt.Sprint(name, mode), func(t *testing.T) {
				t.Parallel()
				for cut := 0; ; cut++ {
					over, problem := crash(t, options, cut, mode, "")
					if problem != nil {
						t.Fatalf("power cut at operation %d: %v", cut, problem)
					}
					if over {
						break
					}
				}
			})
		}
	}
}

// The test above can fail: without any one of the syncs something is lost.
func TestPowerCutNeedsEachSync(t *testing.T) {
	options := crashOptions(t)["segments"]
	for _, liar := range []string{linesKind, storedKind, checkpointsName, treeKind, "names"} {
		t.Run(liar, func(t *testing.T) {
			for cut := 0; ; cut++ {
				over, problem := crash(t, options, cut, lose, liar)
				if problem != nil {
					return
				}
				if over {
					t.Fatal("nothing was lost")
				}
			}
		})
	}
}

// A process that is killed while eight goroutines write loses nothing that it has acknowledged.
func TestKill(t *testing.T) {
	if os.Getenv("AUDIT_TEST_CHILD") != "" {
		writeUntilKilled()
	}
	dir := t.TempDir()
	keys := t.TempDir()
	if err := GenerateKey(keys, "example.com/test"); err != nil {
		t.Fatal(err)
	}
	_, verifier, err := ReadSigner(keys + "/" + SignerFile)
	if err != nil {
		t.Fatal(err)
	}
	acknowledged := map[string]bool{}
	for round := range *kills {
		command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKill$")
		command.Env = append(os.Environ(), "AUDIT_TEST_CHILD="+fmt.Sprint(round), "AUDIT_TEST_DIR="+dir, "AUDIT_TEST_KEYS="+keys)
		command.Stderr = os.Stderr
		out, err := command.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		lines, before, after := bufio.NewScanner(out), len(acknowledged), 1+mathrand.IntN(300)
		for lines.Scan() {
			acknowledged[lines.Text()] = true
			if len(acknowledged)-before == after {
				_ = command.Process.Kill()
			}
		}
		_ = command.Process.Kill()
		_ = command.Wait() // it was killed
		if len(acknowledged) == before {
			t.Fatalf("round %d: nothing was acknowledged", round)
		}
	}
	folder := disk{dir: dir}
	signer, _, err := ReadSigner(keys + "/" + SignerFile)
	if err != nil {
		t.Fatal(err)
	}
	log, err := Open(dir, Options{Signer: signer, Verifier: verifier})
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if err := lost(folder, verifier, acknowledged); err != nil {
		t.Error(err)
	}
	t.Logf("%d processes killed, %d calls acknowledged, none lost", *kills, len(acknowledged))
}

func writeUntilKilled() {
	fail := func(err error) {
		_, _ = io.WriteString(os.Stderr, err.Error()+"\n")
		os.Exit(1)
	}
	keys, round := os.Getenv("AUDIT_TEST_KEYS"), os.Getenv("AUDIT_TEST_CHILD")
	signer, verifier, err := ReadSigner(keys + "/" + SignerFile)
	if err != nil {
		fail(err)
	}
	log, err := Open(os.Getenv("AUDIT_TEST_DIR"), Options{
		Signer: signer, Verifier: verifier, segment: 100 << 10, records: 50, interval: 20 * time.Millisecond,
	})
	if err != nil {
		fail(err)
	}
	var group sync.WaitGroup
	for g := range 8 {
		group.Go(func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%s-%d-%d", round, g, i)
				r, content := call(id)
				if err := log.Record(context.Background(), r, content); err != nil {
					fail(err)
				}
				_, _ = os.Stdout.WriteString(id + "\n") // one write for each, so that no line is cut
			}
		})
	}
	group.Wait()
}
