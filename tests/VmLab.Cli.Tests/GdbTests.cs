using System.Diagnostics;

namespace VmLab.Cli.Tests;

/// <summary>Stock gdb against a stock Debian kernel.</summary>
public sealed class GdbTests
{
    const string Script =
        """
        using VmLab; using VmLab.Core;
        var fleet = Fleet.Define("debugged").Seed(7).Vm("alice", out var alice, vm => vm.Boot(Guest.Debian()).Memory(128.MiB));
        await Lab.RunAsync(fleet, async lab => { await lab.Boot(); WriteLine((await lab[alice].Shell("uname -s")).Output); });
        """;

    static readonly string[] s_session =
    [
        "set pagination off", "set confirm off",
        "break do_exit", "continue", "bt 2", "x/3i $rip", "info registers rip cr3 gs_base mxcsr", "stepi", "delete",
        "watch *(unsigned long *) &jiffies_64", "continue", "monitor info", "detach",
    ];

    string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateDirectory(Path.Combine(
        TestContext.CurrentContext.WorkDirectory, "gdb", TestContext.CurrentContext.Test.ID)).FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public void Gdb_breaks_inspects_steps_and_watches_in_the_kernel_and_the_run_stays_the_same()
    {
        Assume.That(HasGdb(), "gdb is not installed: `apt-get install gdb`");
        string script = Path.Combine(_folder, "lab.csx"), alone = Path.Combine(_folder, "alone"), debugged = Path.Combine(_folder, "debugged");
        File.WriteAllText(script, Script);

        Ending without = Vmlab.Run("run", script, "--hashes", alone);
        string session = "";
        Ending with = Vmlab.Answering(
            line => line.Contains(" waits for gdb: gdb ", StringComparison.Ordinal), line => session = Gdb(line),
            "run", script, "--gdb", "0", "--hashes", debugged);

        Assert.That(session, Does.Contain("Breakpoint 1, 0x").And.Contain(" in do_exit ()").And.Contain("<do_exit+5>:")
            .And.Contain("mxcsr          0x1f80").And.Contain("Hardware watchpoint 2").And.Contain("in do_timer ()")
            .And.Contain("alice: Running, 128 MiB of memory"));
        Assert.That((with.Code, with.Output), Is.EqualTo((0, without.Output)), with.Error);
        Assert.That(File.ReadAllText(debugged), Is.EqualTo(File.ReadAllText(alone)).And.Not.Empty);
    }

    static bool HasGdb() => (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Any(folder => File.Exists(Path.Combine(folder, "gdb")));

    /// <summary>Runs the line that the tool prints, with the session's commands.</summary>
    string Gdb(string line)
    {
        string commands = Path.Combine(_folder, "session.gdb");
        File.WriteAllLines(commands, s_session);
        string command = line[(line.IndexOf(" gdb: ", StringComparison.Ordinal) + " gdb: ".Length)..];
        using Process gdb = Process.Start(new ProcessStartInfo("sh", ["-c", $"{command} -q -nx -batch -x '{commands}' 2>&1"])
        {
            UseShellExecute = false,
            RedirectStandardOutput = true,
        })!;
        string output = gdb.StandardOutput.ReadToEnd();
        gdb.WaitForExit();
        return output;
    }
}
