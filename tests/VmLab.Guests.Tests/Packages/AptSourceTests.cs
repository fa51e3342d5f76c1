using System.Runtime.Versioning;
using VmLab.Guests.Packages;

namespace VmLab.Guests.Tests.Packages;

/// <summary>Against scripts that speak as apt does: what it says was copied from Debian 12.</summary>
[Platform("Linux")]
[SupportedOSPlatform("linux")]
[FixtureLifeCycle(LifeCycle.InstancePerTestCase)]
public sealed class AptSourceTests
{
    const string Paragraph = """
        Package: dash
        Version: 0.5.12-2
        Architecture: amd64
        Depends: debianutils (>= 5.6-0.1), dpkg (>= 1.19.1)
        Pre-Depends: libc6 (>= 2.34)
        Priority: required
        Filename: pool/main/d/dash/dash_0.5.12-2_amd64.deb
        Size: 91892
        SHA256: 33ea40061da2f1a861ec46212b2b6a34f0776a049b1a3f0abce2fb8cb994258f
        """;

    readonly string _folder = Directory.CreateTempSubdirectory("vmlab-apt").FullName;
    readonly AptSource _apt;

    public AptSourceTests() => _apt = new AptSource(_folder);

    [TearDown]
    public void Clean() => Directory.Delete(_folder, recursive: true);

    [Test]
    public async Task Package_is_read_as_apt_shows_it()
    {
        Script("apt-cache", $"cat <<'END'\n{Paragraph}\nEND");

        PackageRecord dash = (await _apt.FindAsync(["dash"], default)).Single();

        Assert.That((dash.Name, dash.Version, dash.Size), Is.EqualTo(("dash", "0.5.12-2", 91892L)));
        Assert.That(dash.Depends, Is.EqualTo((string[][])[["libc6"], ["debianutils"], ["dpkg"]]));
    }

    [Test]
    public async Task Unknown_package_is_left_out_where_there_are_lists()
    {
        Script("apt-cache", "[ $1 = policy ] && echo ' 500 http://deb.debian.org/debian bookworm/main amd64 Packages'");

        Assert.That(await _apt.FindAsync(["nonesuch"], default), Is.Empty);
    }

    [Test]
    public void Package_for_another_processor_is_refused()
    {
        Script("apt-cache", $"cat <<'END'\n{Paragraph.Replace("amd64", "arm64", StringComparison.Ordinal)}\nEND");

        Assert.That(async () => await _apt.FindAsync(["dash"], default), Refused.Saying("serves arm64"));
    }

    [Test]
    public async Task Providers_come_best_first()
    {
        Script("apt-cache", """
            if [ $1 = showpkg ]; then
                printf 'Package: awk\nVersions: \n\nReverse Depends: \nDependencies: \nProvides: \nReverse Provides: \n'
                printf 'original-awk 2022-09-12-1 (= )\nmawk 1.3.4 (= )\ngawk 1:5.2.1-2 (= )\n'
            else
                printf 'Package: original-awk\nPriority: optional\n\n'
                printf 'Package: mawk\nPriority: required\n\nPackage: gawk\nPriority: optional\n'
            fi
            """);

        Assert.That(await _apt.ProvidersAsync("awk", default), Is.EqualTo((string[])["mawk", "gawk", "original-awk"]));
    }

    [Test]
    public async Task Download_names_packages_with_their_versions_in_the_folder()
    {
        Script("apt-get", "echo \"$@\" >said");
        string target = Directory.CreateDirectory(Path.Combine(_folder, "target")).FullName;

        await _apt.DownloadAsync([new PackageRecord("dash", "0.5.12-2", "amd64", [], "", 0)], target, default);

        Assert.That(
            await File.ReadAllTextAsync(Path.Combine(target, "said")), Is.EqualTo("-q download dash=0.5.12-2\n"));
    }

    [Test]
    public void Download_that_fails_says_what_apt_said()
    {
        Script("apt-get", "echo 'E: Failed to fetch http://deb.debian.org/x.deb  404  Not Found' >&2; exit 100");

        Assert.That(
            async () =>
                await _apt.DownloadAsync([new PackageRecord("dash", "0.5", "amd64", [], "", 0)], _folder, default),
            Throws.TypeOf<PackageUnavailableException>().With.Message.Contains("404").And.Message.Contains(
                "apt-get update"));
    }

    [Test]
    public void Host_without_apt_is_told_what_else_there_is() =>
        Assert.That(
            async () => await _apt.FindAsync(["dash"], default),
            Refused.Saying("apt-cache does not run on this machine", "VMLAB_CACHE", "Guest.Linux"));

    void Script(string name, string text)
    {
        string path = Path.Combine(_folder, name);
        File.WriteAllText(path, "#!/bin/sh\n" + text + "\n");
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
    }
}
