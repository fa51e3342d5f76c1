using CsCheck;
using VmLab.Core;
using VmLab.Machines;

namespace VmLab.Introspection.Tests;

public sealed class KernelSymbolsTests : IDisposable
{
    const ulong Base = 0xFFFF_FFFF_9A20_0000, TablesAt = 0x123_4568;

    static readonly KernelSymbol[] s_symbols =
    [
        new("fixed_percpu_data", 0, 'A'),
        new("cpu_number", 0x1_0028, 'A'),
        new("startup_64", Base, 'T'),
        new("_text", Base, 'T'),
        .. Enumerable.Range(0, 1000).Select(i => new KernelSymbol($"sys_do_{i}_init", Base + 0x1000 + 16 * (ulong)i, 'T')),
        new("jiffies_64", Base + 0x150_0000, 'D'),
        new(new string('n', 300), Base + 0x150_0008, 'd'),
        new("_end", Base + 0x200_0000, 'B'),
    ];

    readonly FramePool _pool = new(64.MiB);
    readonly GuestMemory _ram;

    public KernelSymbolsTests() => _ram = new GuestMemory(_pool, 32.MiB);

    public void Dispose()
    {
        _ram.Dispose();
        _pool.Dispose();
    }

    [Test]
    public void Every_symbol_is_found_whatever_the_order_of_the_tables([Values] TableOrder order)
    {
        _ram.Write(TablesAt, KallsymsWriter.Write(s_symbols, Base, order));

        KernelSymbols symbols = Read()!;

        Assert.That(symbols.All, Is.EqualTo(s_symbols));
        Assert.That((symbols.Base, symbols.Slide), Is.EqualTo((Base, 0x1920_0000UL)));
    }

    [TestCase("sys_do_7_init", Base + 0x1070)]
    [TestCase("jiffies_64", Base + 0x150_0000)]
    [TestCase("cpu_number", 0x1_0028UL)]
    public void A_name_has_an_address(string name, ulong address) =>
        Assert.That((Whole().TryFind(name, out ulong found), found), Is.EqualTo((true, address)));

    [Test]
    public void A_name_that_is_not_there_has_none() => Assert.That(Whole().TryFind("jiffies_65", out _), Is.False);

    [TestCase(Base, "startup_64", 0UL)]
    [TestCase(Base + 0x1073, "sys_do_7_init", 3UL)]
    [TestCase(Base + 0x14F_FFFF, "sys_do_999_init", 0x14F_FFFFUL - 0x1000 - 16 * 999)]
    [TestCase(Base + 0x200_0000, "_end", 0UL)]
    public void An_address_lies_in_the_first_symbol_at_or_before_it(ulong address, string name, ulong offset) =>
        Assert.That(Whole().At(address), Is.EqualTo((name, offset)));

    [TestCase(0x1_0028UL)]
    [TestCase(Base - 1)]
    [TestCase(Base + 0x200_0001)]
    public void An_address_outside_the_image_lies_in_no_symbol(ulong address) => Assert.That(Whole().At(address), Is.Null);

    [Test]
    public void Memory_without_tables_has_no_symbols() => Assert.That(Read(), Is.Null);

    [Test]
    public void Digits_alone_are_no_tables()
    {
        for (ulong at = 0; at < 1 << 20; at += (ulong)TokenTable.Digits.Length) _ram.Write(at, TokenTable.Digits);

        Assert.That(Read(), Is.Null);
    }

    [Test]
    public void A_reading_is_reused_until_the_kernel_is_another()
    {
        KernelSymbols first = Whole();

        Assert.That(KernelSymbols.TryRead(_ram, Linear(), first), Is.SameAs(first));

        _ram.Write(TablesAt, KallsymsWriter.Write(s_symbols, Base + 0x20_0000, TableOrder.OffsetsFirst));
        Assert.That(KernelSymbols.TryRead(_ram, Linear(), first), Is.Not.SameAs(first));
    }

    [Test]
    public void A_kernel_elsewhere_shares_its_names_and_has_its_own_addresses([Values] TableOrder order)
    {
        const ulong Elsewhere = Base + 0x40_0000;
        _ram.Write(TablesAt, KallsymsWriter.Write(s_symbols, Base, order));
        KernelSymbols first = Read()!;
        KernelSymbol[] moved = [.. s_symbols.Select(symbol => symbol.Address < Base ? symbol : symbol with { Address = symbol.Address + 0x40_0000 })];
        _ram.Write(TablesAt, KallsymsWriter.Write(moved, Elsewhere, order));

        KernelSymbols second = Read()!;

        Assert.That((first.All, second.All), Is.EqualTo((s_symbols, moved)));
        Assert.That(first.All.Zip(second.All).All(pair => ReferenceEquals(pair.First.Name, pair.Second.Name)), Is.True);
    }

    [Test]
    public void Damaged_tables_give_other_symbols_or_none([Values] TableOrder order)
    {
        byte[] whole = KallsymsWriter.Write(s_symbols, Base, order);
        Gen.Select(Gen.Int[0, whole.Length - 1], Gen.Int[1, 64], Gen.Byte.Array[64]).Array[1, 8].Sample(
            damages =>
            {
                _ram.Write(TablesAt, whole);
                foreach (var (at, length, bytes) in damages) _ram.Write(TablesAt + (ulong)at, bytes.AsSpan(0, length));
                KernelSymbols? symbols = Read();
                return symbols is null || symbols.All.Count() == s_symbols.Length;
            }, iter: 300, threads: 1);
    }

    KernelSymbols Whole()
    {
        _ram.Write(TablesAt, KallsymsWriter.Write(s_symbols, Base, TableOrder.OffsetsFirst));
        return Read()!;
    }

    KernelSymbols? Read() => KernelSymbols.TryRead(_ram, Linear());

    // Paging is off: nothing of the kernel is mapped.
    LinearMemory Linear() => new(_ram, cr0: 0, cr3: 0, cr4: 0, efer: 0);
}
