using System.Globalization;

namespace VmLab.Guests.Packages;

/// <summary>What an archive's index says of one package.</summary>
/// <param name="Depends">All that must be there too: one element a requirement, each a list of alternatives by
/// name.</param>
/// <param name="Sha256">Checksum of the .deb, in lower-case hexadecimal digits.</param>
/// <param name="Size">Bytes of the .deb.</param>
public sealed record PackageRecord(
    string Name, string Version, string Architecture, IReadOnlyList<IReadOnlyList<string>> Depends,
    string Sha256, long Size)
{
    const StringSplitOptions Trimmed = StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries;

    /// <summary>Name of the .deb in a folder of many.</summary>
    public string FileName => $"{Name}_{Version.Replace(":", "%3a", StringComparison.Ordinal)}_{Architecture}.deb";

    /// <param name="fields">A paragraph of the index, as <c>apt-cache show</c> prints it.</param>
    /// <returns>The package, or <see langword="null"/> when the paragraph does not tell where to get it.</returns>
    public static PackageRecord? FromFields(IReadOnlyDictionary<string, string> fields)
    {
        if (!fields.TryGetValue("Package", out string? name) || !fields.TryGetValue("Version", out string? version)
            || !fields.TryGetValue("Architecture", out string? architecture)
            || !fields.TryGetValue("SHA256", out string? checksum)
            || !fields.TryGetValue("Size", out string? sizeText)
            || !long.TryParse(sizeText, NumberStyles.None, CultureInfo.InvariantCulture, out long size))
            return null;
        string depends = fields.GetValueOrDefault("Pre-Depends", "") + "," + fields.GetValueOrDefault("Depends", "");
        return new(name, version, architecture, ParseDepends(depends), checksum, size);
    }

    /// <summary>Reads a relation such as <c>libc6 (>= 2.34), default-mta | mail-transport-agent</c>; versions are not
    /// looked at.</summary>
    /// <remarks>One archive holds one version of each package, which fits the others. Source: Debian Policy
    /// §7.1.</remarks>
    public static IReadOnlyList<IReadOnlyList<string>> ParseDepends(string relation) =>
    [
        .. from requirement in relation.Split(',', Trimmed)
           let alternatives = requirement.Split('|', Trimmed)
           where alternatives.Length > 0
           select (IReadOnlyList<string>)[.. alternatives.Select(NameOf)],
    ];

    // Without version, architecture and profiles.
    static string NameOf(string alternative) => alternative.Split(' ', ':', '(', '[')[0];
}
