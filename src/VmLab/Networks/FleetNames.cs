namespace VmLab.Networks;

/// <summary>Names and addresses of a fleet's machines on its networks.</summary>
sealed class FleetNames(Fleet fleet)
{
    const ulong Vendor = 0x5254_0000_0000;
    const byte HostNumber = 254;

    public static MacAddress HostCard(int link) => CardOf(link, HostNumber);

    public static Ipv4Address HostAddress(int link) => AddressOf(link, HostNumber);

    /// <param name="link">0 to 255.</param>
    /// <param name="number">Of the machine on the network, from 1.</param>
    public static MacAddress CardOf(int link, byte number) => new(Vendor | (ulong)link << 8 | number);

    public static Ipv4Address AddressOf(int link, byte number) => Ipv4Address.Of(10, 0, (byte)link, number);

    /// <summary>The address at which a machine reaches another: on this network, else on the first that both are on.</summary>
    /// <param name="name">In lower case.</param>
    public Ipv4Address? Find(string name, string asker, LinkSpec link) => AddressOn(link, name) ?? fleet.Links
        .Where(other => other.Ports.Any(port => port.Machine == asker))
        .Select(other => AddressOn(other, name)).FirstOrDefault(address => address is not null);

    public string? NameOf(Ipv4Address address) =>
        fleet.Links.SelectMany(link => link.Ports).FirstOrDefault(port => port.Address == address)?.Machine;

    static Ipv4Address? AddressOn(LinkSpec link, string name) =>
        link.Ports.FirstOrDefault(port => port.Machine.Equals(name, StringComparison.OrdinalIgnoreCase))?.Address;
}
