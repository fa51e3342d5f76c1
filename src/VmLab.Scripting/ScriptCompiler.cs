using System.Reflection;
using System.Text;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Microsoft.CodeAnalysis.Emit;
using Microsoft.CodeAnalysis.Text;

namespace VmLab.Scripting;

/// <summary>
/// Compiles scripts with Roslyn's script dialect. The only part of a run, beside the REPL, that loads Roslyn.
/// </summary>
sealed class ScriptCompiler(ScriptHostOptions options)
{
    const int MostErrors = 20;

    public static readonly CSharpParseOptions Dialect = new(LanguageVersion.Latest, DocumentationMode.None, SourceCodeKind.Script);

    /// <exception cref="ScriptException">The script does not compile: file, line, column and source line of each
    /// error.</exception>
    public (byte[] Assembly, byte[] Symbols, IReadOnlyList<string> Probes) Compile(ScriptFiles files, string key)
    {
        var resolver = new ReferenceResolver(options);
        SyntaxTree[] trees = [.. files.Scripts.Select(path => Parse(path, files.Files[path]))];
        var compilation = CSharpCompilation.CreateScriptCompilation(
            $"script-{key}",
            trees[0],
            References(options).Concat(trees.SelectMany(tree => resolver.Packages((CompilationUnitSyntax)tree.GetRoot()))),
            new CSharpCompilationOptions(
                OutputKind.DynamicallyLinkedLibrary,
                scriptClassName: CompiledScript.ClassName,
                usings: options.Usings,
                optimizationLevel: OptimizationLevel.Debug,
                sourceReferenceResolver: new SourceFileResolver([], Path.GetDirectoryName(files.Path)),
                metadataReferenceResolver: resolver,
                deterministic: true),
            returnType: typeof(object),
            globalsType: typeof(ScriptGlobals));

        using var assembly = new MemoryStream();
        using var symbols = new MemoryStream();
        EmitResult result = compilation.Emit(
            assembly, symbols, options: new EmitOptions(
                debugInformationFormat: DebugInformationFormat.PortablePdb, pdbFilePath: ScriptCache.SymbolFile));
        if (!result.Success) throw new ScriptException(Describe(result.Diagnostics));
        return (assembly.ToArray(), symbols.ToArray(), resolver.Probes);
    }

    /// <summary>The runtime's own assemblies, and those that the tool carries.</summary>
    public static IEnumerable<MetadataReference> References(ScriptHostOptions options)
    {
        string runtime = Path.GetDirectoryName(typeof(object).Assembly.Location)!;
        string all = AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES") as string ?? "";
        return all.Split(Path.PathSeparator)
            .Where(path => Path.GetDirectoryName(path) == runtime)
            .Concat(options.Carried.SelectMany(package => package.Files))
            .Append(Assembly.GetExecutingAssembly().Location)
            .Distinct()
            .Select(path => MetadataReference.CreateFromFile(path));
    }

    /// <summary>
    /// Errors as <c>file(line,column): error CODE: text</c>, each with its source line and a caret under the place.
    /// </summary>
    public static string Describe(IEnumerable<Diagnostic> diagnostics)
    {
        Diagnostic[] errors = [.. diagnostics.Where(diagnostic => diagnostic.Severity == DiagnosticSeverity.Error)
            .OrderBy(error => error.Location.GetLineSpan().Path).ThenBy(error => error.Location.SourceSpan.Start)];
        var message = new StringBuilder();
        foreach (Diagnostic error in errors.Take(MostErrors)) Describe(error, message);
        if (errors.Length > MostErrors) message.AppendLine($"... and {errors.Length - MostErrors} more errors.");
        return message.ToString().TrimEnd();
    }

    static SyntaxTree Parse(string path, byte[] bytes)
    {
        using var stream = new MemoryStream(bytes);
        return CSharpSyntaxTree.ParseText(SourceText.From(stream, Encoding.UTF8), Dialect, path);
    }

    static void Describe(Diagnostic error, StringBuilder message)
    {
        FileLinePositionSpan span = error.Location.GetLineSpan();
        LinePosition start = span.StartLinePosition;
        string file = span.Path?.Length > 0 ? Shorten(span.Path) : "";
        string place = span.IsValid ? $"{file}({start.Line + 1},{start.Character + 1}): " : "";
        message.AppendLine($"{place}error {error.Id}: {error.GetMessage(System.Globalization.CultureInfo.InvariantCulture)}");
        if (error.Location.SourceTree?.GetText() is not { } text) return;
        string line = text.Lines[start.Line].ToString();
        string indent = new([.. line.Take(start.Character).Select(character => character == '\t' ? '\t' : ' ')]);
        message.Append("    ").AppendLine(line).Append("    ").Append(indent).AppendLine("^");
    }

    // As the user would name the file: from where the tool was started, if it lies below.
    static string Shorten(string path)
    {
        string relative = Path.GetRelativePath(Environment.CurrentDirectory, path);
        return relative.StartsWith("..", StringComparison.Ordinal) ? path : relative;
    }
}
