using System.Security.Cryptography;
using System.Text;

namespace VmLab.Labs.Behaviour;

public sealed class Pipes : Debian
{
    [LabTest]
    public async Task Every_byte_comes_through_in_order()
    {
        const int Lines = 50_000;
        Lab lab = await Fork();
        string sent = string.Concat(Enumerable.Range(1, Lines).Select(line => $"{line}\n"));

        ShellResult result = await lab[Box].Shell($"seq 1 {Lines} | cat | cat | cat | sha256sum | cut -d ' ' -f 1");

        Assert.That(result, Prints.Exactly(Convert.ToHexStringLower(SHA256.HashData(Encoding.ASCII.GetBytes(sent)))));
    }

    [LabTest]
    public async Task A_writer_that_nobody_reads_ends_by_PIPE()
    {
        Lab lab = await Fork();

        ShellResult result = await lab[Box].Shell("(yes; echo $? >/tmp/status) | head -n 1; sleep 0.1; cat /tmp/status");

        Assert.That(result, Prints.Exactly("y\n141"));
    }

    [LabTest]
    public async Task A_full_pipe_holds_its_writer_and_loses_nothing()
    {
        Lab lab = await Fork();

        ShellResult result = await lab[Box].Shell(
            "(dd if=/dev/zero bs=4096 count=32 2>/dev/null; touch /tmp/done) | (sleep 1; test -e /tmp/done || echo held; wc -c)");

        Assert.That(result, Prints.Exactly("held\n131072"));
    }

    [LabTest]
    public async Task Lines_of_eight_writers_are_never_torn()
    {
        Lab lab = await Fork();

        ShellResult result = await lab[Box].Shell("""
            mkfifo /tmp/fifo
            cat /tmp/fifo >/tmp/all & reader=$!
            exec 3>/tmp/fifo
            for w in 1 2 3 4 5 6 7 8; do
              (i=0; while [ $i -lt 100 ]; do echo "writer $w says the same sixty letters again and again, line $i end" >&3; i=$((i + 1)); done) &
              writers="$writers $!"
            done
            wait $writers; exec 3>&-; wait $reader
            grep -cx 'writer [1-8] says the same sixty letters again and again, line [0-9]* end' /tmp/all
            sort /tmp/all | uniq | wc -l
            """);

        Assert.That(result, Prints.Exactly("800\n800"));
    }

    [LabTest]
    public async Task A_pipe_under_load_keeps_every_byte_over_a_restore()
    {
        Lab lab = await Fork();
        const string Command = "seq 1 10000 | while read line; do echo $line; done | tail -n 1";
        Task<ShellResult> first = lab[Box].Shell(Command);
        await lab.RunFor(50.Milliseconds);
        using Moment under = await lab.Snapshot("under load");
        ShellResult whole = await first;

        await lab.Restore(under);
        ShellResult again = await lab[Box].Resume(Command);

        Assert.That(whole, Prints.Exactly("10000"));
        Assert.That(again, Is.EqualTo(whole));
    }
}
