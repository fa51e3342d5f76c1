using VmLab.Core;
using VmLab.X86;

namespace VmLab.Machines.Tests;

/// <summary>Page tables of each kind, walked from outside. Source: Intel SDM vol. 3A §4.3 to §4.5.</summary>
public sealed class LinearMemoryTests : IDisposable
{
    const ulong Table = 0x1000, Present = 1, Large = 0x80, Data = 0x60_0000;

    readonly FramePool _pool = new(64.MiB);
    readonly GuestMemory _ram;

    public LinearMemoryTests() => _ram = new GuestMemory(_pool, 16.MiB);

    public void Dispose()
    {
        _ram.Dispose();
        _pool.Dispose();
    }

    [Test]
    public void Without_paging_an_address_is_physical() =>
        Assert.That((new LinearMemory(_ram, 0, 0, 0, 0).TryTranslate(0x1234, out ulong physical), physical), Is.EqualTo((true, 0x1234UL)));

    [TestCase(1, 0x60_0123UL)]
    [TestCase(2, 0x60_5123UL)]
    [TestCase(3, 0x4560_5123UL)]
    public void Four_levels_lead_to_pages_of_three_sizes(int lastLevel, ulong expected)
    {
        for (int level = 4; level > lastLevel; level--) _ram.Write64(Table * (ulong)(5 - level) + 8 * Index(level), Table * (ulong)(6 - level) | Present);
        ulong page = lastLevel == 3 ? 0x4000_0000 : Data;
        _ram.Write64(Table * (ulong)(5 - lastLevel) + 8 * Index(lastLevel), page | Present | (lastLevel > 1 ? Large : 0));

        Assert.That((Long().TryTranslate(Linear, out ulong physical), physical), Is.EqualTo((true, expected)));
    }

    [TestCase(Linear)]
    [TestCase(0x8000_0000_0000UL)]
    public void An_absent_or_uncanonical_address_leads_nowhere(ulong linear) => Assert.That(Long().TryTranslate(linear, out _), Is.False);

    [Test]
    public void Three_levels_of_eight_bytes_with_physical_address_extension()
    {
        _ram.Write64(Table + 8 * 3, 0x2000 | Present);
        _ram.Write64(0x2000 + 8 * 1, Data | Present | Large);
        var linear = new LinearMemory(_ram, Cr0.Paging, Table, Cr4.PhysicalAddressExtension, 0);

        Assert.That((linear.TryTranslate(0xC020_0456, out ulong physical), physical), Is.EqualTo((true, Data + 0x456)));
    }

    [Test]
    public void Two_levels_of_four_bytes_without()
    {
        _ram.Write64(Table + 4 * 1, 0x2000 | Present);
        _ram.Write64(0x2000 + 4 * 2, Data | Present);
        var linear = new LinearMemory(_ram, Cr0.Paging, Table, 0, 0);

        Assert.That((linear.TryTranslate(0x40_2789, out ulong physical), physical), Is.EqualTo((true, Data + 0x789)));
    }

    [Test]
    public void A_read_ends_before_the_first_page_that_is_not_mapped()
    {
        _ram.Write64(Table + 4 * 1, 0x2000 | Present);
        _ram.Write64(0x2000 + 4 * 2, Data | Present);
        _ram.Write(Data + 4090, [1, 2, 3, 4, 5, 6]);
        var linear = new LinearMemory(_ram, Cr0.Paging, Table, 0, 0);
        byte[] bytes = new byte[20];

        Assert.That(linear.Read(0x40_2000 + 4090, bytes), Is.EqualTo(6));
        Assert.That(bytes[..6], Is.EqualTo(new byte[] { 1, 2, 3, 4, 5, 6 }));
    }

    const ulong Linear = 0xFFFF_8123_4560_5123;

    static ulong Index(int level) => Linear >> 12 + 9 * (level - 1) & 0x1FF;

    LinearMemory Long() => new(_ram, Cr0.Paging, Table, Cr4.PhysicalAddressExtension, Efer.LongModeActive);
}
