using VmLab.Core;

namespace VmLab.Scripting.Tests;

[NonParallelizable]
public sealed class ScriptHostTests
{
    string _folder = "";

    [SetUp]
    public void MakeFolder() =>
        _folder = Directory.CreateDirectory(Path.Combine(
            TestContext.CurrentContext.WorkDirectory, "scripts", TestContext.CurrentContext.Test.ID)).FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public void A_script_runs_with_the_usings_of_dotnet_script_and_its_arguments() => Assert.That(
        Run("""
            var lines = new List<string> { "a", "b" };
            await Task.Yield();
            return string.Join(",", lines.Concat(Args).Select(line => line.ToUpper()));
            """, "c"),
        Is.EqualTo("A,B,C"));

    [Test]
    public void A_script_binds_to_the_assemblies_that_are_loaded() => Assert.That(
        Run("""
            #r "nuget: VmLab, 0.1.0"
            using VmLab; using VmLab.Core;
            return Fleet.Define("f").Seed(7).Vm("a", out var a, vm => vm.Memory(256.MiB));
            """),
        Is.EqualTo(Fleet.Define("f").Seed(7).Vm("a", vm => vm.Memory(256.MiB))));

    [Test]
    public void A_script_loads_others_from_its_own_folder()
    {
        Directory.CreateDirectory(Path.Combine(_folder, "parts"));
        Write("parts/one.csx", "#load \"two.csx\"\nint One() => Two() - 1;");
        Write("parts/two.csx", "int Two() => 2;");

        Assert.That(Run("#load \"parts/one.csx\"\nreturn One() + Two();"), Is.EqualTo(3));
    }

    [Test]
    public void An_unchanged_script_is_compiled_once()
    {
        string script = Write("lab.csx", "return 1;");
        CompiledScript first = Host().Load(script);
        File.SetLastWriteTimeUtc(first.Path, DateTime.UnixEpoch);

        CompiledScript second = Host().Load(script);

        Assert.That(File.GetLastWriteTimeUtc(second.Path), Is.EqualTo(DateTime.UnixEpoch));
    }

    [Test]
    public void A_change_in_a_loaded_file_compiles_anew()
    {
        Write("part.csx", "int X = 1;");
        Assert.That(Run("#load \"part.csx\"\nreturn X;"), Is.EqualTo(1));

        Write("part.csx", "int X = 2;");

        Assert.That(Run("#load \"part.csx\"\nreturn X;"), Is.EqualTo(2));
    }

    [Test]
    public void A_compile_error_shows_place_and_source_line() => Assert.That(
        () => Run("int x = 1;\nint y = x +;\n"),
        Throws.TypeOf<ScriptException>().With.Message.EqualTo(
            $"""
            {Path.GetRelativePath(Environment.CurrentDirectory, Path.Combine(_folder, "lab.csx"))}(2,12): error CS1525: Invalid expression term ';'
                int y = x +;
                           ^
            """));

    [Test]
    public void An_error_in_a_loaded_file_names_that_file()
    {
        Write("part.csx", "\tint x = y;");

        Assert.That(() => Run("#load \"part.csx\""), Throws.TypeOf<ScriptException>()
            .With.Message.Contains("part.csx(1,10): error CS0103").And.Message.EndsWith("    \tint x = y;\n    \t        ^"));
    }

    [Test]
    public void What_a_script_throws_names_its_line()
    {
        var thrown = Assert.Catch(() => Run("await Task.Yield();\nint zero = 0;\nreturn 1 / zero;"));

        Assert.That(thrown, Is.TypeOf<DivideByZeroException>());
        Assert.That(thrown!.StackTrace, Does.Contain("lab.csx:line 3"));
    }

    [Test]
    public void A_script_that_is_not_there_is_named() => Assert.That(
        () => Host().Load(Path.Combine(_folder, "nothing.csx")),
        Throws.TypeOf<ScriptException>().With.Message.Contains("nothing.csx"));

    [Test]
    public void Another_version_of_the_tool_is_refused() => Assert.That(
        () => Run("#r \"nuget: VmLab, 9.9.9\""),
        Throws.TypeOf<ScriptException>().With.Message.Contains("asks for VmLab 9.9.9, and this tool carries 0.1.0"));

    [Test]
    public void A_package_of_ours_that_is_not_there_is_refused_without_a_search() => Assert.That(
        () => Run("#r \"nuget: VmLab.Nothing, 0.1.0\""),
        Throws.TypeOf<ScriptException>().With.Message.Contains("carries no package VmLab.Nothing"));

    [Test]
    public void A_package_that_restore_knows_is_bound() => Assert.That(
        Run("""
            #r "nuget: System.CommandLine, 3.0.0"
            return new System.CommandLine.RootCommand("hello").Description;
            """),
        Is.EqualTo("hello"));

    [Test]
    public void A_missing_load_is_an_error_with_its_place() => Assert.That(
        () => Run("\n#load \"nothing.csx\""),
        Throws.TypeOf<ScriptException>().With.Message.Contains("lab.csx(2,7): error CS1504"));

    static readonly CarriedPackage s_lab = new("VmLab", "0.1.0", [typeof(Lab).Assembly.Location, typeof(ByteSize).Assembly.Location]);

    ScriptHost Host() => new(new ScriptHostOptions { Carried = [s_lab], CacheFolder = Path.Combine(_folder, "cache") });

    string Write(string name, string text)
    {
        string path = Path.Combine(_folder, name);
        File.WriteAllText(path, text);
        return path;
    }

    object? Run(string text, params string[] arguments)
    {
        CompiledScript script = Host().Load(Write("lab.csx", text));
        object? result = null;
        Pump.Run(async () => result = await script.RunAsync(new ScriptGlobals(arguments)), new LabOptions());
        return result;
    }
}
