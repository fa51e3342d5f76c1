namespace VmLab.Cli.Tests;

public sealed class TraceTests
{
    string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateDirectory(Path.Combine(
        TestContext.CurrentContext.WorkDirectory, "trace", TestContext.CurrentContext.Test.ID)).FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public void A_trace_goes_to_its_file_and_is_the_same_every_time()
    {
        string script = File("lab.csx", """
            #r "nuget: VmLab, 0.1.0"
            using VmLab;
            var fleet = Fleet.Define("bare").Vm("bare", vm => vm.Memory(4.MiB).Boot(Guest.Program(asm => { asm.nop(); asm.hlt(); })));
            await Lab.RunAsync(fleet, lab => lab.RunFor(1.Milliseconds));
            """);
        string first = Path.Combine(_folder, "first"), second = Path.Combine(_folder, "second");
        Vmlab.Run("trace", script, "-o", first);
        Vmlab.Run("trace", script, "-o", second);

        Assert.That(System.IO.File.ReadAllLines(first), Has.Length.EqualTo(2));
        Assert.That(Vmlab.Run("trace", "--compare", first, second), Is.EqualTo(new Ending(0, "The traces are the same, 2 lines.\n", "")));
    }

    [Test]
    public void A_script_runs_in_lock_step_as_it_runs_alone()
    {
        string script = File("lab.csx", """
            #r "nuget: VmLab, 0.1.0"
            using VmLab;
            var fleet = Fleet.Define("bare").Vm("bare", out var bare, vm => vm.Memory(4.MiB).Boot(
                Guest.Program(asm => { var loop = asm.CreateLabel(); asm.Label(ref loop); asm.add(Iced.Intel.AssemblerRegisters.eax, 3); asm.jmp(loop); })));
            await Lab.RunAsync(fleet, async lab => { await lab.RunFor(1.Milliseconds); WriteLine(lab[bare].StateHash); });
            """);
        Ending alone = Vmlab.Run("run", script);

        Assert.That(alone.Code, Is.Zero);
        Assert.That(alone.Output, Is.Not.Empty);
        Assert.That(Vmlab.Run("lockstep", script, "--step", "1000"), Is.EqualTo(alone));
    }

    [Test]
    public void Two_traces_that_part_end_with_1_and_show_where() => Assert.That(
        Vmlab.Run("trace", "--compare", File("a", "one\ntwo\nthree\n"), File("b", "one\ntwo\n")),
        Is.EqualTo(new Ending(1, "The traces part at line 3:\n  one\n  two\n< three\n> (the end)\n", "")));

    [Test]
    public void A_trace_that_is_not_there_ends_with_2() => Assert.That(
        Vmlab.Run("trace", "--compare", File("a", ""), Path.Combine(_folder, "none")).Code, Is.EqualTo(2));

    string File(string name, string text)
    {
        string path = Path.Combine(_folder, name);
        System.IO.File.WriteAllText(path, text);
        return path;
    }
}
