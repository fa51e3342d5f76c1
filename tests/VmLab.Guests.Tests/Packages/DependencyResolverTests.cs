using VmLab.Guests.Packages;

namespace VmLab.Guests.Tests.Packages;

[FixtureLifeCycle(LifeCycle.InstancePerTestCase)]
public sealed class DependencyResolverTests
{
    readonly FakeSource _source = new();

    [Test]
    public async Task Everything_needed_comes_along_once()
    {
        _source.Add("a", "b, c");
        _source.Add("b", "d");
        _source.Add("c", "d (>= 2), a");
        _source.Add("d", "");

        Assert.That(await Resolve("a"), Is.EqualTo((string[])["a", "b", "c", "d"]));
    }

    [Test]
    public async Task First_alternative_that_exists_is_taken()
    {
        _source.Add("a", "gone | there | other");
        _source.Add("there", "");
        _source.Add("other", "");

        Assert.That(await Resolve("a"), Is.EqualTo((string[])["a", "there"]));
    }

    [Test]
    public async Task Alternative_that_is_there_already_is_enough()
    {
        _source.Add("a", "first | second");
        _source.Add("first", "");
        _source.Add("second", "");

        Assert.That(await Resolve("second", "a"), Is.EqualTo((string[])["a", "second"]));
    }

    [Test]
    public async Task Virtual_package_is_provided_by_the_best_that_provides_it()
    {
        _source.Add("a", "awk");
        _source.Add("gawk", "");
        _source.Add("mawk", "");
        _source.Provide("awk", "mawk", "gawk");

        Assert.That(await Resolve("a"), Is.EqualTo((string[])["a", "mawk"]));
    }

    [Test]
    public async Task What_only_installation_scripts_need_is_left_out_unless_named()
    {
        _source.Add("a", "debconf (>= 0.5) | debconf-2.0, dpkg");
        _source.Add("debconf", "");
        _source.Add("dpkg", "");

        Assert.That(await Resolve("a"), Is.EqualTo((string[])["a"]));
        Assert.That(await Resolve("a", "dpkg"), Is.EqualTo((string[])["a", "dpkg"]));
    }

    [Test]
    public void Unknown_package_is_named_with_what_to_do() =>
        Assert.That(
            async () => await Resolve("nonesuch"),
            Refused.Saying("Debian has no package nonesuch.", "apt-get update"));

    [Test]
    public void Missing_dependency_is_named_with_who_needs_it()
    {
        _source.Add("a", "b");
        _source.Add("b", "x | y");

        Assert.That(
            async () => await Resolve("a"), Refused.Saying("The package b needs x or y"));
    }

    [Test]
    public void Relations_are_read_without_versions_architectures_and_profiles() =>
        Assert.That(
            PackageRecord.ParseDepends(
                "libc6 (>= 2.34), python3:any (>= 3.11), default-mta | mail-transport-agent, x [amd64] <!nocheck>,"),
            Is.EqualTo((string[][])[["libc6"], ["python3"], ["default-mta", "mail-transport-agent"], ["x"]]));

    async Task<string[]> Resolve(params string[] names)
    {
        var packages = await DependencyResolver.ResolveAsync(_source, names, [], CancellationToken.None);
        return [.. packages.Select(package => package.Name)];
    }
}
