using System.Runtime.InteropServices;
using VmLab.Core;

namespace VmLab.X86.Tests.Paging;

/// <summary>Walks of 32-bit and PAE paging. Source: Intel SDM vol. 3A §4.3, §4.4, §4.6 to §4.8.</summary>
public sealed unsafe class LegacyWalkTests
{
    const ulong Present = 1, Writable = 2, User = 4, Accessed = 0x20, Dirty = 0x40, Large = 0x80, NoExecute = 1UL << 63;
    const ulong Root = 0x1000, Directory = 0x2000, Table = 0x3000, Linear = 0xC0A0_3456;

    static readonly Access s_read = default, s_write = new(IsWrite: true, false, false, false),
        s_fetch = new(false, IsFetch: true, false, false), s_userRead = new(false, false, IsUser: true, false);

    FramePool _pool = null!;
    GuestMemory _memory = null!;
    Tlb _tlb = null!;
    PageWalker _walker = null!;
    CpuState* _state;

    [SetUp]
    public void PowerOn()
    {
        _pool = new FramePool(64.MiB);
        _memory = new GuestMemory(_pool, 8.MiB);
        _tlb = new Tlb(_memory);
        _walker = new PageWalker(_memory, _tlb);
        _state = (CpuState*)NativeMemory.AllocZeroed((nuint)sizeof(CpuState));
        _state->Cr0 = Cr0.ProtectionEnable | Cr0.Paging | Cr0.WriteProtect;
        _state->Cr3 = Root;
    }

    [TearDown]
    public void PowerOff()
    {
        NativeMemory.Free(_state);
        _tlb.Dispose();
        _memory.Dispose();
        _pool.Dispose();
    }

    // §4.3, figure 4-2: ten bits of the address choose a directory's entry, ten a table's.
    [Test]
    public void Two_levels_of_1024_entries_lead_to_a_page_of_4_kib()
    {
        MapTwoLevel(0x0765_4000 | Present | Writable);

        Assert.That(Walk(s_read, out Translation found), Is.Null);

        Assert.That(found, Is.EqualTo(new Translation(0x0765_4000, true, false, true, false)));
        Assert.That((_memory.Read32(Root + 4 * 0x302), _memory.Read32(Table + 4 * 0x203)), Is.EqualTo(
            ((uint)(Table | Present | Writable | User | Accessed), 0x0765_4000U | (uint)(Present | Writable | Accessed))));
    }

    // §4.8: a write marks the last entry dirty; neighbours of four bytes stay as they are.
    [Test]
    public void A_write_marks_four_bytes_and_no_more()
    {
        MapTwoLevel(0x0765_4000 | Present | Writable);
        _memory.Write32(Table + 4 * 0x204, 0);

        Walk(s_write, out _);

        Assert.That(_memory.Read64(Table + 4 * 0x203), Is.EqualTo(0x0765_4000 | Present | Writable | Accessed | Dirty));
    }

    // §4.3, figure 4-3 and table 4-4: with CR4.PSE, PS maps 4 MiB, and bits 13 to 20 are address bits 32 to 39.
    [TestCase(0x0140_0000U, 0x0160_3000UL)]
    [TestCase(0x0140_0000U | 1 << 12, 0x0160_3000UL, Description = "PAT")]
    [TestCase(0x0140_0000U | 1 << 13, 0x1_0160_3000UL)]
    [TestCase(0x0140_0000U | 0xFF << 13, 0xFF_0160_3000UL)]
    public void A_page_of_4_mib_lies_anywhere_in_40_bits(uint address, ulong expected)
    {
        _state->Cr4 = Cr4.PageSizeExtensions;
        _memory.Write32(Root + 4 * 0x302, address | (uint)(Present | Writable | Large));

        Assert.That(Walk(s_write, out Translation found), Is.Null);

        Assert.That(found.Physical, Is.EqualTo(expected + (Linear & 0x3F_F000) - 0x20_3000));
        Assert.That(_memory.Read32(Root + 4 * 0x302) & (Accessed | Dirty), Is.EqualTo(Accessed | Dirty));
    }

    // Table 4-4: bit 21 is reserved where addresses have 40 bits.
    [Test]
    public void A_page_of_4_mib_reserves_bit_21()
    {
        _state->Cr4 = Cr4.PageSizeExtensions;
        _memory.Write32(Root + 4 * 0x302, 1 << 21 | (uint)(Present | Large));

        Assert.That(Walk(s_read, out _), Is.EqualTo(CpuException.Page(Linear, PageError.Present | PageError.Reserved)));
    }

    // §4.3: without CR4.PSE, bit 7 of a directory's entry is ignored.
    [Test]
    public void Without_pse_there_are_no_large_pages()
    {
        MapTwoLevel(0x5000 | Present, directoryBits: Large);

        Assert.That(Walk(s_read, out Translation found), Is.Null);
        Assert.That(found.Physical, Is.EqualTo(0x5000));
    }

    // §4.6: 32-bit paging has no execute-disable, whatever EFER.NXE; §4.7: nor does its error code tell of a fetch,
    // but for SMEP.
    [TestCase(0UL, 0U)]
    [TestCase(Cr4.Smep, 0x10U)]
    public void Two_levels_tell_a_fetch_by_smep_alone(ulong cr4, uint error)
    {
        _state->Efer = Efer.NoExecute;
        _state->Cr4 = cr4;

        Assert.That(Walk(s_fetch, out _)!.Value.ErrorCode, Is.EqualTo(error));
    }

    // §4.6.1: SMEP and SMAP hold in every paging mode.
    [Test]
    public void Two_levels_keep_the_supervisor_from_user_pages()
    {
        MapTwoLevel(0x5000 | Present | Writable | User);
        _state->Cr4 = Cr4.Smep | Cr4.Smap;

        Assert.That(Walk(s_fetch, out _)!.Value.ErrorCode, Is.EqualTo(0x11));
        Assert.That(Walk(s_write, out _)!.Value.ErrorCode, Is.EqualTo(3));
        Assert.That(Walk(s_userRead, out _), Is.Null);
    }

    // §4.4.2, figure 4-5: two bits choose a directory pointer, nine an entry of each table.
    [Test]
    public void Pae_starts_from_the_pointers_in_registers()
    {
        MapPae(0xFF_0765_4000 | Present | Writable | NoExecute);

        Assert.That(Walk(s_read, out Translation found), Is.Null);

        Assert.That(found, Is.EqualTo(new Translation(0xFF_0765_4000, true, false, false, false)));
        Assert.That(_state->DirectoryPointers[3], Is.EqualTo(Directory | Present), "no accessed bit");
        Assert.That(_memory.Read64(Directory + 8 * 0x5), Is.EqualTo(Table | Present | Writable | User | Accessed));
    }

    [Test]
    public void An_absent_directory_pointer_is_a_page_fault()
    {
        MapPae(0x5000 | Present);
        _state->DirectoryPointers[3] = Directory;

        Assert.That(Walk(s_write, out _), Is.EqualTo(CpuException.Page(Linear, PageError.Write)));
    }

    [Test]
    public void Pae_maps_pages_of_2_mib()
    {
        MapPae(0);
        _memory.Write64(Directory + 8 * 0x5, 0x12_3460_0000 | Present | Large);

        Assert.That(Walk(s_read, out Translation found), Is.Null);
        Assert.That(found.Physical, Is.EqualTo(0x12_3460_0000 + (Linear & 0x1F_F000)));
    }

    // Tables 4-9 to 4-11: unlike four-level paging, PAE ignores none of bits 52 to 62.
    [TestCase(1UL << 40)]
    [TestCase(1UL << 51)]
    [TestCase(1UL << 52)]
    [TestCase(1UL << 62)]
    [TestCase(Large | 1UL << 13)]
    [TestCase(Large | 1UL << 20)]
    public void Pae_reserves(ulong bits)
    {
        MapPae(0x5000 | Present, directoryBits: bits);

        Assert.That(Walk(s_read, out _), Is.EqualTo(CpuException.Page(Linear, PageError.Present | PageError.Reserved)));
    }

    // §4.4.2: bit 63 is reserved unless EFER.NXE is set; then it forbids fetches, at any level.
    [TestCase(false, 9U)]
    [TestCase(true, 0x11U)]
    public void Pae_forbids_fetches_by_bit_63(bool isEnabled, uint error)
    {
        MapPae(0x5000 | Present, directoryBits: NoExecute);
        if (!isEnabled) _state->Efer = 0;

        Assert.That(Walk(s_fetch, out _)!.Value.ErrorCode, Is.EqualTo(error));
    }

    // §4.4.1 and table 4-8: bits 1, 2, 5 to 8 and 40 to 63 of a pointer that is present are reserved.
    [TestCase(Present, true)]
    [TestCase(Present | 0x18 | 0xE00, true)]
    [TestCase(Present | Writable, false)]
    [TestCase(Present | User, false)]
    [TestCase(Present | Accessed, false)]
    [TestCase(Present | 1 << 8, false)]
    [TestCase(Present | 1UL << 40, false)]
    [TestCase(Present | NoExecute, false)]
    [TestCase(0xFFFF_FFFF_FFFF_FFFEUL, true, Description = "not present")]
    public void Directory_pointers_have_reserved_bits(ulong pointer, bool isAllowed)
    {
        _memory.Write64(Root + 0x7E0 + 16, pointer);
        Span<ulong> pointers = stackalloc ulong[4];

        Assert.That(_walker.TryReadPointers(Root + 0x7FF, pointers), Is.EqualTo(isAllowed));
        Assert.That(pointers[2], Is.EqualTo(pointer));
    }

    CpuException? Walk(Access access, out Translation found)
    {
        _tlb.Enter(AddressSpace.Of(_state));
        _tlb.Select(Tlb.Supervisor);
        return _walker.Walk(_state, Linear, access, out found);
    }

    void MapTwoLevel(ulong entry, ulong directoryBits = 0)
    {
        _memory.Write32(Root + 4 * 0x302, (uint)(Table | Present | Writable | User | directoryBits));
        _memory.Write32(Table + 4 * 0x203, (uint)entry);
    }

    void MapPae(ulong entry, ulong directoryBits = 0)
    {
        _state->Cr4 = Cr4.PhysicalAddressExtension;
        _state->Efer = Efer.NoExecute;
        _state->DirectoryPointers[3] = Directory | Present;
        _memory.Write64(Directory + 8 * 0x5, Table | Present | Writable | User | directoryBits);
        _memory.Write64(Table + 8 * 0x3, entry);
    }
}
