using System.IO.Compression;
using System.Text.RegularExpressions;

namespace VmLab.Cli.Tests;

/// <summary>What a failed run leaves is run again to the same failure.</summary>
public sealed class ReplayTests
{
    string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("vmlab-replay").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public void A_failed_script_is_replayed_to_the_same_failure_when_its_file_is_gone()
    {
        string script = Path.Combine(_folder, "fails.csx"), part = Path.Combine(_folder, "part.csx");
        File.WriteAllText(part, """const string Wish = "nothing like this";""");
        File.WriteAllText(script, """
            #r "nuget: VmLab, 0.1.0"
            #r "nuget: VmLab.Testing, 0.1.0"
            #r "nuget: Iced, 1.22.0"
            #load "part.csx"
            using VmLab; using VmLab.Testing; using NUnit.Framework; using Iced.Intel; using static Iced.Intel.AssemblerRegisters;
            var fleet = Fleet.Define("fails").Seed(3).Vm("a", out var a, vm => vm.Memory(2.MiB).Boot(Guest.Program(asm =>
            {
                Label again = asm.CreateLabel();
                asm.mov(dx, 0x3F8);
                asm.Label(ref again);
                asm.rdrand(rax);
                asm.and(al, 0x0F);
                asm.add(al, (byte)'a');
                asm.@out(dx, al);
                asm.jmp(again);
            })));
            await Lab.RunAsync(fleet, async lab =>
            {
                await lab.RunFor(30.Microseconds);
                Assert.That(lab[a].Console.Text, Is.EqualTo(Wish + Args[0]));
            });
            """);

        Ending failed = Vmlab.Run("run", script, "--seed", "8", "--", "word");
        string bundle = failed.Error[(failed.Error.IndexOf("Replay: vmlab replay ", StringComparison.Ordinal) + 21)..].Trim();
        File.Delete(script);
        File.Delete(part);
        Ending replayed = Vmlab.Run("replay", bundle), stopped = Vmlab.Run("replay", bundle, "--until", "0.01ms");

        Assert.That((failed.Code, replayed.Code), Is.EqualTo((ExitCode.Failed, ExitCode.Failed)), failed.Error + replayed.Error);
        Assert.That(Told(replayed), Is.EqualTo(Told(failed)));
        Assert.That(Told(failed), Does.Contain("nothing like thisword"));
        Assert.That((stopped.Code, stopped.Error), Is.EqualTo((ExitCode.Passed, stopped.Error)));
        Assert.That(stopped.Error, Does.Contain("seed 8, stood at 0.000010 s"));

        static string Told(Ending ending)
        {
            string[] lines = ending.Error.Split('\n');
            return string.Join('\n', lines.SkipWhile(line => !line.Contains("Expected")).TakeWhile(line => !line.StartsWith("Replay:", StringComparison.Ordinal))).TrimEnd();
        }
    }

    [Test]
    public void A_failed_test_is_replayed_to_the_same_failure_from_the_moment_in_its_bundle()
    {
        Ending failed = Vmlab.TestAt(_folder, $"class == {typeof(FailingTests).FullName}");
        string second = Regex.Match(failed.Output, @"vmlab replay (\S+seed-2-\w+\.vmlab\.zip)").Groups[1].Value;
        Directory.Delete(Path.Combine(_folder, "moments"), recursive: true);

        Ending replayed = Vmlab.RunAt(_folder, "replay", second);

        Assert.That(replayed.Code, Is.EqualTo(ExitCode.Failed), replayed.Output + replayed.Error);
        Assert.That(Told(replayed), Is.EqualTo(Told(failed)).And.Contains("nothing like this").And.Contains("seed 2, stood at"));
        Assert.That(Directory.Exists(Path.Combine(_folder, "moments")), Is.False, "the moment came from the bundle");
        using ZipArchive bundle = ZipFile.OpenRead(second);
        using var page = new StreamReader(bundle.GetEntry("report.html")!.Open());
        Assert.That(page.ReadToEnd(), Does.Contain("nothing like this"));

        // Of the second case: what was expected, where the lab stood, its events, and the name of its bundle, in which is a hash of it all.
        static string Told(Ending ending) => Regex.Match(
            ending.Output, @"Failed \w+\(seed 2\) [^\n]+\n(.*?seed-2-\w+\.vmlab\.zip)", RegexOptions.Singleline).Groups[1].Value;
    }

    [Test]
    public void What_is_no_bundle_is_refused()
    {
        string path = Path.Combine(_folder, "x.zip");
        File.WriteAllText(path, "no zip");

        Ending ending = Vmlab.Run("replay", path);

        Assert.That((ending.Code, ending.Error), Is.EqualTo((ExitCode.WrongInput, ending.Error)));
        Assert.That(ending.Error, Does.Contain("is no bundle of a failure"));
    }
}
