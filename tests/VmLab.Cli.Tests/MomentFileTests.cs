using System.IO.Compression;

namespace VmLab.Cli.Tests;

/// <summary>Moments as files, between processes.</summary>
public sealed class MomentFileTests
{
    string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("vmlab-moments").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public void A_process_killed_while_it_saves_loses_nothing_older()
    {
        string path = Path.Combine(_folder, "there.moment");
        string script = Write("killed.csx", $$"""
            await Lab.RunAsync(fleet, async lab =>
            {
                await lab.RunFor(20.Milliseconds);
                for (int i = 0; ; i++)
                {
                    var moment = await lab.Snapshot($"number {i}");
                    WriteLine($"saving {i}");
                    moment.Save("{{path}}");
                    await lab.RunFor(1.Milliseconds);
                }
            });
            """);

        Vmlab.Kill("saving 2", () => File.Exists(path + ".new"), "run", script);

        Assert.That(File.Exists(path + ".new"), "it was killed while it saved");
        using Moment loaded = Moment.Load(path);
        Assert.That(loaded.Time, Is.GreaterThanOrEqualTo(21.Milliseconds));
    }

    [Test]
    public void A_lab_goes_on_in_another_process_as_it_would_have_in_its_own()
    {
        string path = Path.Combine(_folder, "there.moment");
        const string GoOn = """lab.Inject(Fault.Memory(a).Flip().Every(2.Milliseconds)); await lab.RunFor(30.Milliseconds); WriteLine($"{lab.Now} {lab.StateHash():x}");""";
        string whole = Write("whole.csx", $$"""await Lab.RunAsync(fleet, async lab => { await lab.RunFor(20.Milliseconds); {{GoOn}} });""");
        string first = Write("first.csx", $$"""
            await Lab.RunAsync(fleet, async lab => { await lab.RunFor(20.Milliseconds); (await lab.Snapshot("there")).Save("{{path}}"); });
            """);
        string second = Write("second.csx", $$"""var lab = await Lab.StartAsync(Moment.Load("{{path}}")); {{GoOn}}""");

        Ending expected = Vmlab.Run("run", whole);
        Assert.That(Vmlab.Run("run", first).Code, Is.Zero);
        Ending continued = Vmlab.Run("run", second, "--threads", "1");

        Assert.That((continued.Code, continued.Output), Is.EqualTo((0, expected.Output)), continued.Error);
        Assert.That(expected.Output, Does.StartWith("00:00:00.05"));
    }

    [Test]
    public void A_replay_loads_the_moments_of_its_bundle_and_those_that_it_saves_itself()
    {
        string there = Path.Combine(_folder, "there.moment"), later = Path.Combine(_folder, "later.moment"), own = Path.Combine(_folder, "own.moment");
        string Saves(string name, int milliseconds) => Write(name, $$"""
            await Lab.RunAsync(fleet, async lab =>
            {
                await lab.RunFor({{milliseconds}}.Milliseconds);
                var there = await lab.Snapshot("there");
                there.Save("{{there}}");
                await lab.RunFor(1.Milliseconds);
                (await lab.Snapshot("later")).Save("{{later}}", parent: there);
            });
            """);
        string fails = Write("fails.csx", $$"""
            var lab = await Lab.StartAsync(Moment.Load("{{later}}"));
            await lab.RunFor(1.Milliseconds);
            (await lab.Snapshot("own")).Save("{{own}}");
            var grown = await Lab.StartAsync(Moment.Load("{{own}}"));
            WriteLine($"{grown.Now} {grown.StateHash():x}");
            grown.Always("this holds", () => false);
            await grown.RunFor(1.Milliseconds);
            """);

        Assert.That(Vmlab.Run("run", Saves("first.csx", 20)).Code, Is.Zero);
        Ending failed = Vmlab.RunAt(_folder, "run", fails);
        Assert.That(Vmlab.Run("run", Saves("second.csx", 30)).Code, Is.Zero);
        File.Delete(own);
        string bundle = Directory.GetFiles(Path.Combine(_folder, "failures")).Single();
        Ending replayed = Vmlab.RunAt(_folder, "replay", bundle);

        Assert.That((failed.Code, replayed.Code, replayed.Output), Is.EqualTo((ExitCode.Failed, ExitCode.Failed, failed.Output)), replayed.Error);
        Assert.That(failed.Output, Does.StartWith("00:00:00.0220"));
        using ZipArchive zip = ZipFile.OpenRead(bundle);
        Assert.That(zip.Entries.Select(entry => entry.Name).Where(name => name.EndsWith(".moment", StringComparison.Ordinal)),
            Is.EquivalentTo(["later.moment", "there.moment"]));
    }

    /// <summary>A script with a fleet of one machine, which writes 40 MiB, every page another.</summary>
    string Write(string name, string script)
    {
        string path = Path.Combine(_folder, name);
        File.WriteAllText(path, $$"""
            #r "nuget: VmLab, 0.1.0"
            #r "nuget: Iced, 1.22.0"
            using VmLab; using Iced.Intel; using static Iced.Intel.AssemblerRegisters;
            var fleet = Fleet.Define("killed").Seed(3).Vm("a", out var a, vm => vm.Memory(64.MiB).Boot(Guest.Program(asm =>
            {
                Label again = asm.CreateLabel(), next = asm.CreateLabel();
                asm.Label(ref again);
                asm.mov(edi, 0x20_0000);
                asm.Label(ref next);
                asm.rdrand(rax);
                asm.mov(__[rdi], rax);
                asm.add(edi, 4096);
                asm.cmp(edi, 0x2A0_0000);
                asm.jb(next);
                asm.jmp(again);
            })));
            {{script}}
            """);
        return path;
    }
}
