using System.Text;
using CliWrap;

namespace VmLab.Guests.Packages;

/// <summary>Debian's archive, as the host's apt knows it.</summary>
/// <remarks>Runs apt-cache and apt-get; only <c>apt-get update</c>, where the lists are empty or stale, needs
/// root.</remarks>
/// <param name="programs">Folder of apt-cache and apt-get; by default wherever PATH finds them.</param>
public sealed class AptSource(string programs = "") : IPackageSource
{
    // By how much Debian itself counts on a package: of several that provide the same, the one it installs.
    static readonly string[] s_priorities = ["required", "important", "standard", "optional", "extra"];

    public async Task<IReadOnlyList<PackageRecord>> FindAsync(
        IReadOnlyCollection<string> names, CancellationToken cancellation)
    {
        IReadOnlyList<PackageRecord> packages = await ShowAsync(names, cancellation).ConfigureAwait(false);
        if (packages.Count > 0 || names.Count == 0) return packages;

        // Not one of them: rather than all names being wrong, the lists are empty.
        if (await HasListsAsync(cancellation).ConfigureAwait(false)) return packages;
        return await TryUpdateAsync(cancellation).ConfigureAwait(false)
            ? await ShowAsync(names, cancellation).ConfigureAwait(false)
            : throw new LabException("apt has no package lists yet. Run `sudo apt-get update` once, then try again.");
    }

    public async Task<bool> TryUpdateAsync(CancellationToken cancellation)
    {
        if (!Environment.IsPrivilegedProcess) return false;
        CommandOutput result = await RunAsync("apt-get", ["-q", "update"], ".", cancellation).ConfigureAwait(false);
        return result.ExitCode == 0
            ? true
            : throw new LabException(
                $"`apt-get update` failed: {result.Error}\n"
                + "See that the machine has network, and what apt's sources name.");
    }

    public async Task<IReadOnlyList<string>> ProvidersAsync(string name, CancellationToken cancellation)
    {
        string text = (await RunAsync("apt-cache", ["showpkg", name], ".", cancellation).ConfigureAwait(false)).Output;
        const string Heading = "Reverse Provides:";
        int heading = text.IndexOf(Heading, StringComparison.Ordinal);
        if (heading < 0) return [];
        string[] names =
        [
            .. text[(heading + Heading.Length)..]
                .Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)
                .Select(line => line.Split(' ')[0]).Distinct(),
        ];
        if (names.Length < 2) return names;
        CommandOutput shown = await RunAsync("apt-cache", ["show", "--no-all-versions", .. names], ".", cancellation)
            .ConfigureAwait(false);
        return
        [
            .. from fields in ControlFields.ParseAll(shown.Output)
               where fields.ContainsKey("Package")
               orderby Array.IndexOf(s_priorities, fields.GetValueOrDefault("Priority", "extra")), fields["Package"]
               select fields["Package"],
        ];
    }

    public async Task DownloadAsync(
        IReadOnlyList<PackageRecord> packages, string folder, CancellationToken cancellation)
    {
        string[] arguments = ["-q", "download", .. packages.Select(package => $"{package.Name}={package.Version}")];
        CommandOutput result = await RunAsync("apt-get", arguments, folder, cancellation).ConfigureAwait(false);
        if (result.ExitCode == 0) return;
        throw new PackageUnavailableException(
            $"apt-get could not download {string.Join(", ", packages.Select(package => package.Name))}: "
            + $"{result.Error}\nSee that the machine has network and that apt's sources name a Debian mirror; "
            + "run `sudo apt-get update`, then try again.");
    }

    async Task<IReadOnlyList<PackageRecord>> ShowAsync(
        IReadOnlyCollection<string> names, CancellationToken cancellation)
    {
        CommandOutput shown = await RunAsync("apt-cache", ["show", "--no-all-versions", .. names], ".", cancellation)
            .ConfigureAwait(false);
        PackageRecord[] packages =
            [.. ControlFields.ParseAll(shown.Output).Select(PackageRecord.FromFields).OfType<PackageRecord>()];
        return packages.FirstOrDefault(package => package.Architecture is not ("amd64" or "all")) is { } foreign
            ? throw new LabException(
                $"The apt of this machine serves {foreign.Architecture}, and guests are amd64. "
                + "Fetch on an amd64 Debian, and copy the cache.")
            : packages;
    }

    // The policy names each list with where it is from; what is merely installed has no address.
    async Task<bool> HasListsAsync(CancellationToken cancellation)
    {
        CommandOutput policy = await RunAsync("apt-cache", ["policy"], ".", cancellation).ConfigureAwait(false);
        return policy.Output.Contains("://", StringComparison.Ordinal);
    }

    readonly record struct CommandOutput(int ExitCode, string Output, string Error);

    async Task<CommandOutput> RunAsync(
        string program, string[] arguments, string folder, CancellationToken cancellation)
    {
        var (output, error) = (new StringBuilder(), new StringBuilder());
        try
        {
            CommandResult result = await Cli.Wrap(Path.Combine(programs, program))
                .WithArguments(arguments)
                .WithWorkingDirectory(folder)
                .WithEnvironmentVariables(
                    variables => variables.Set("LC_ALL", "C").Set("DEBIAN_FRONTEND", "noninteractive"))
                .WithValidation(CommandResultValidation.None)
                .WithStandardOutputPipe(PipeTarget.ToStringBuilder(output))
                .WithStandardErrorPipe(PipeTarget.ToStringBuilder(error))
                .ExecuteAsync(cancellation).ConfigureAwait(false);
            return new(result.ExitCode, output.ToString(), error.ToString().Trim());
        }
        catch (System.ComponentModel.Win32Exception cause)
        {
            throw new LabException(
                $"The Debian guest is fetched with apt, and {program} does not run on this machine. "
                + "Use a Debian host, copy a cache from one (see VMLAB_CACHE), "
                + "or boot your own kernel with Guest.Linux.",
                cause);
        }
    }
}
