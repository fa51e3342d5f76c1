using System.Reflection;
using System.Text;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Scripting;
using Microsoft.CodeAnalysis.CSharp.Scripting.Hosting;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Microsoft.CodeAnalysis.Scripting;
using Microsoft.CodeAnalysis.Scripting.Hosting;

namespace VmLab.Scripting;

/// <summary>Reads C# a statement at a time, runs it on the pump, and prints what it gives; variables stay.</summary>
/// <param name="input">What is typed; its end ends the session, as <c>#exit</c> does.</param>
/// <param name="isFriendly">Prints prompts, for a person; a program that pipes lines in gets results alone.</param>
public sealed class Repl(ScriptHostOptions options, TextReader input, TextWriter output, bool isFriendly)
{
    ScriptState<object>? _state;

    /// <summary>Runs until the input ends.</summary>
    /// <param name="stop">Ends the session between two statements.</param>
    public async Task RunAsync(ScriptGlobals globals, CancellationToken stop = default)
    {
        using var loader = new InteractiveAssemblyLoader();
        foreach (string file in options.Carried.SelectMany(package => package.Files))
            loader.RegisterDependency(Assembly.LoadFrom(file));
        loader.RegisterDependency(typeof(ScriptGlobals).Assembly);

        while (!stop.IsCancellationRequested && ReadStatement() is { } statement)
        {
            if (statement.Trim() == "#exit") return;
            if (statement.Trim().Length > 0) await Evaluate(statement, globals, loader);
        }
    }

    /// <summary>Reads lines until they make a whole statement; <see langword="null"/> at the input's end.</summary>
    string? ReadStatement()
    {
        var statement = new StringBuilder();
        while (true)
        {
            if (isFriendly) output.Write(statement.Length == 0 ? "> " : "· ");
            if (input.ReadLine() is not { } line) return statement.Length == 0 ? null : statement.ToString();
            statement.AppendLine(line);
            SyntaxTree tree = CSharpSyntaxTree.ParseText(statement.ToString(), ScriptCompiler.Dialect);
            if (line.Length == 0 || SyntaxFactory.IsCompleteSubmission(tree)) return statement.ToString();
        }
    }

    async Task Evaluate(string statement, ScriptGlobals globals, InteractiveAssemblyLoader loader)
    {
        var resolver = new ReferenceResolver(options);
        try
        {
            var tree = (CompilationUnitSyntax)CSharpSyntaxTree.ParseText(statement, ScriptCompiler.Dialect).GetRoot();
            MetadataReference[] packages = [.. resolver.Packages(tree)];
            foreach (string file in resolver.Probes) loader.RegisterDependency(Assembly.LoadFrom(file));
            Script<object> script = _state is null
                ? CSharpScript.Create(statement, Options(resolver).AddReferences(packages), typeof(ScriptGlobals), loader)
                : _state.Script.ContinueWith(statement, _state.Script.Options.WithMetadataResolver(resolver).AddReferences(packages));
            _state = _state is null ? await script.RunAsync(globals, Stays) : await script.RunFromAsync(_state, Stays);
            if (_state.Exception is { } thrown) output.WriteLine(Told(thrown));
            else if (_state.ReturnValue is { } value) output.WriteLine(Shown(value));
        }
        catch (CompilationErrorException wrong)
        {
            output.WriteLine(ScriptCompiler.Describe(wrong.Diagnostics));
        }
        catch (ScriptException wrong)
        {
            output.WriteLine(wrong.Message);
        }
    }

    ScriptOptions Options(ReferenceResolver resolver) => ScriptOptions.Default
        .WithLanguageVersion(LanguageVersion.Latest)
        .WithReferences(ScriptCompiler.References(options))
        .WithImports(options.Usings)
        .WithMetadataResolver(resolver)
        .WithSourceResolver(new SourceFileResolver([], Environment.CurrentDirectory));

    // What writes itself as a table, or as a text of several lines, is shown so, even where it is a collection.
    static string Shown(object value) => value is not string && value.ToString() is { } text && text.Contains('\n')
        ? text
        : CSharpObjectFormatter.Instance.FormatObject(value);

    // A statement that throws is told, and the session goes on.
    static bool Stays(Exception exception) => true;

    static string Told(Exception exception) =>
        exception is LabException ? exception.Message : $"{exception.GetType().Name}: {exception.Message}";
}
