namespace VmLab.Cli.Tests;

public sealed class RunTests
{
    string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateDirectory(Path.Combine(
        TestContext.CurrentContext.WorkDirectory, "run", TestContext.CurrentContext.Test.ID)).FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public void A_script_that_passes_ends_with_0_and_gets_its_arguments() => Assert.That(
        Vmlab.Run("run", Script("WriteLine(string.Join('+', Args));"), "--", "a", "--b"),
        Is.EqualTo(new Ending(0, "a+--b\n", "")));

    [Test]
    public void An_unchanged_script_runs_without_Roslyn()
    {
        string script = Script("""
            WriteLine(AppDomain.CurrentDomain.GetAssemblies().Count(assembly => assembly.FullName.StartsWith("Microsoft.CodeAnalysis")));
            """);
        Vmlab.Run("run", script);

        Assert.That(Vmlab.Run("run", script).Output, Is.EqualTo("0\n"));
    }

    [Test]
    public void A_failed_assertion_ends_with_1_and_shows_the_line_and_where_the_lab_stood()
    {
        Ending ending = Vmlab.Run("run", "--seed", "9", Script(Bare("""
            await lab.RunFor(1.Milliseconds);
            Assert.That(lab[bare].Status, Is.EqualTo(MachineStatus.PoweredOff));
            """)));

        Assert.That(ending.Code, Is.EqualTo(1));
        Assert.That(ending.Error, Does.Contain("lab.csx(7): an assertion failed\n    Assert.That(lab[bare].Status")
            .And.Contain("Expected: PoweredOff\n  But was:  Stuck")
            .And.Contain("Lab \"bare\", seed 9, stood at 0.001000 s of guest time.\n  bare (Stuck)"));
    }

    [Test]
    public void A_limit_that_is_reached_ends_with_1()
    {
        Ending ending = Vmlab.Run("run", Script(Bare("await lab[bare].Console.Expect(\"login:\", within: 1.Seconds);", "jmp(here)")));

        Assert.That(ending.Code, Is.EqualTo(1));
        Assert.That(ending.Error, Does.Contain("the limit in guest time was reached")
            .And.Contain("bare's console did not show \"login:\" within 1 s of guest time."));
    }

    [Test]
    public void A_compile_error_ends_with_2_and_shows_the_line()
    {
        Ending ending = Vmlab.Run("run", Script("int x = ;"));

        Assert.That(ending.Code, Is.EqualTo(2));
        Assert.That(ending.Error, Does.Contain("lab.csx(1,9): error CS1525").And.EndsWith("    int x = ;\n            ^\n"));
    }

    [Test]
    public void An_exception_of_the_script_ends_with_2_and_names_the_line()
    {
        Ending ending = Vmlab.Run("run", Script("\nthrow new InvalidTimeZoneException(\"no such zone\");"));

        Assert.That(ending.Code, Is.EqualTo(2));
        Assert.That(ending.Error, Does.Contain("lab.csx(2): System.InvalidTimeZoneException").And.Contain("no such zone"));
    }

    [TestCase("run", "nothing.csx", "There is no script nothing.csx.")]
    [TestCase("run", "--threads", "Cannot parse")]
    [TestCase("walk", "x", "vmlab --help")]
    public void A_wrong_command_line_ends_with_2(string command, string argument, string message)
    {
        Ending ending = argument == "--threads" ? Vmlab.Run(command, "x.csx", argument, "many") : Vmlab.Run(command, argument);

        Assert.That((ending.Code, ending.Output), Is.EqualTo((2, "")));
        Assert.That(ending.Error, Does.Contain(message));
    }

    [Test]
    public void A_fleet_that_will_not_fit_ends_with_2_and_both_figures()
    {
        Ending ending = Vmlab.Run("run", Script("""
            using VmLab; using VmLab.Core;
            var fleet = Fleet.Define("big");
            for (int i = 0; i < 100; i++) fleet = fleet.Vm($"vm{i}", vm => vm.Boot(Guest.Program(asm => asm.hlt())).Memory(64.GiB));
            await Lab.RunAsync(fleet, lab => lab.Boot());
            """));

        Assert.That(ending.Code, Is.EqualTo(2));
        Assert.That(ending.Error, Does.Match("Fleet \"big\" will not fit: it needs 6.25 TiB, and [0-9.]+ [GM]iB are free."));
    }

    [Test]
    public void A_kernel_that_is_no_kernel_ends_with_2_and_its_name()
    {
        Ending ending = Vmlab.Run("run", Script("""
            using VmLab; using VmLab.Core;
            var fleet = Fleet.Define("bad").Vm("a", vm => vm.Boot(Guest.Linux("README.md")).Memory(64.MiB));
            await Lab.RunAsync(fleet, lab => lab.Boot());
            """));

        Assert.That(ending.Code, Is.EqualTo(2));
        Assert.That(ending.Error, Does.Contain("README.md"));
    }

    [Test]
    public void A_truncated_initramfs_ends_with_2_and_what_to_do()
    {
        Ending ending = Vmlab.Run("run", Script("""
            using VmLab; using VmLab.Guests;
            var debian = await GuestStore.OfUser().DebianAsync();
            string half = System.IO.Path.GetTempFileName();
            System.IO.File.WriteAllBytes(half, System.IO.File.ReadAllBytes(debian.InitramfsPath)[..100_000]);
            var guest = Guest.Linux(debian.KernelPath, half);
            await Lab.RunAsync(Fleet.Define("bad").Vm("a", vm => vm.Boot(guest).Memory(128.MiB)), lab => lab.Boot());
            """));

        Assert.That(ending.Code, Is.EqualTo(2));
        Assert.That(ending.Error, Does.Contain("is truncated").And.Contain("fetch it again"));
    }

    [Test]
    public void A_storm_of_unknown_opcodes_stays_in_its_machine()
    {
        Ending ending = Vmlab.Run("run", Script("""
            using VmLab;
            var storm = new byte[65536];
            new Random(11).NextBytes(storm);
            var fleet = Fleet.Define("storm").Vm("a", vm => vm.Boot(Guest.Program(asm => asm.db(storm))).Memory(16.MiB));
            await Lab.RunAsync(fleet, async lab => { await lab.Boot(); await lab.RunFor(10.Milliseconds); });
            """));

        Assert.That(ending.Code, Is.Zero);
        Assert.That(ending.Error, Does.Contain("triple fault"));
    }

    [Test]
    public void A_triple_fault_ends_with_1_and_its_place()
    {
        Ending ending = Vmlab.Run("run", Script(Bare("await lab[bare].Console.Expect(\"login:\");", "ud2()")));

        Assert.That(ending.Code, Is.EqualTo(1));
        Assert.That(ending.Error, Does.Contain("it stopped at a triple fault, RIP 0000000000100000"));
    }

    [TestCase("-INT")]
    [TestCase("-TERM")]
    public void An_interruption_ends_with_130_and_says_where_the_lab_stood(string signal)
    {
        Ending ending = Vmlab.Signal(signal, "running", "run", Script(Bare(
            "WriteLine(\"running\"); await lab[bare].Console.Expect(\"never\", within: 3600.Seconds);", "jmp(here)")));

        Assert.That(ending.Code, Is.EqualTo(130));
        Assert.That(ending.Error, Does.Contain("Stopped by request.").And.Contain("Lab \"bare\", seed 1, stood at"));
    }

    [Test]
    public void The_hash_log_is_the_same_on_any_number_of_threads()
    {
        string script = Script(Bare("await lab.RunFor(250.Milliseconds);", "jmp(here)"));
        string[] logs = [.. new[] { "1", "2" }.Select(threads =>
        {
            string log = Path.Combine(_folder, $"hashes{threads}.txt");
            Vmlab.Run("run", script, "--threads", threads, "--hashes", log);
            return File.ReadAllText(log);
        })];

        Assert.That(logs[0], Does.Match("^bare 100000000 [0-9a-f]{16}\nother 100000000 [0-9a-f]{16}\nbare 200000000 [0-9a-f]{16}\n"));
        Assert.That(logs[1], Is.EqualTo(logs[0]));
    }

    [Test]
    public void Version_and_help_end_with_0()
    {
        Assert.That(Vmlab.Run("--version"), Is.EqualTo(new Ending(0, "vmlab 0.1.0\n", "")));
        Assert.That(Vmlab.Run("--help").Output, Does.Contain("run <FILE.csx>"));
    }

    [Test]
    public void The_repl_runs_labs() => Assert.That(
        Vmlab.RunWith("""
            var fleet = Fleet.Define("bare").Vm("bare", vm => vm.Boot(Guest.Program(asm => asm.hlt())).Memory(4.MiB));
            var lab = await Lab.StartAsync(fleet);
            await lab.RunFor(5.Seconds);
            lab.Now.TotalSeconds
            lab["bare"].Status.ToString()

            """, "repl").Output,
        Is.EqualTo("5\n\"Stuck\"\n"));

    /// <summary>A script with a lab of two bare machines that do one instruction: halt, unless told to spin or fault.</summary>
    static string Bare(string body, string instruction = "hlt()") =>
        $$"""
        #r "nuget: VmLab, 0.1.0"
        using VmLab; using VmLab.Core; using VmLab.Machines; using VmLab.Testing; using NUnit.Framework; using Iced.Intel;
        Guest guest = Guest.Program(asm => { var here = asm.CreateLabel(); asm.Label(ref here); asm.{{instruction}}; });
        var fleet = Fleet.Define("bare").Seed(1).Vm("bare", out var bare, vm => vm.Boot(guest).Memory(4.MiB)).Vm("other", vm => vm.Boot(guest).Memory(4.MiB));
        await Lab.RunAsync(fleet, async lab => {
        {{body}}
        });
        """;

    string Script(string text)
    {
        string path = Path.Combine(_folder, "lab.csx");
        File.WriteAllText(path, text);
        return path;
    }
}
