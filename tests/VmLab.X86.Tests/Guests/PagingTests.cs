using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;
using static VmLab.X86.Tests.Guests.VcpuFixture;

namespace VmLab.X86.Tests.Guests;

/// <summary>
/// Page walks: rights, error codes, accessed and dirty bits, large pages. Source: Intel SDM vol. 3A chapter 4.
/// </summary>
public sealed unsafe class PagingTests : GuestTest
{
    const ulong Page = 0x4000_0000, Frame = 0x50_0000;
    const byte Done = 0x80;

    public enum Kind { Read, Write, Fetch }

    [Flags]
    public enum Mode { None = 0, User = 1, WriteProtectOff = 2, Smep = 4, Smap = 8, Open = 16, NoExecuteOff = 32 }

    // §4.6 (rights), §4.7 (error codes), table 4-19 (reserved bits of a 4 KiB page's entry).
    [TestCase(0UL, Kind.Read, Mode.None, 0)]
    [TestCase(0UL, Kind.Write, Mode.None, 2)]
    [TestCase(0UL, Kind.Fetch, Mode.None, 0x10)]
    [TestCase(0UL, Kind.Fetch, Mode.NoExecuteOff, 0)]
    [TestCase(0UL, Kind.Fetch, Mode.NoExecuteOff | Mode.Smep, 0x10)]
    [TestCase(0UL, Kind.Read, Mode.User, 4)]
    [TestCase(0UL, Kind.Write, Mode.User, 6)]
    [TestCase(0UL, Kind.Fetch, Mode.User, 0x14)]
    [TestCase(Present, Kind.Read, Mode.None, -1)]
    [TestCase(Present, Kind.Write, Mode.None, 3)]
    [TestCase(Present, Kind.Write, Mode.WriteProtectOff, -1)]
    [TestCase(Present, Kind.Fetch, Mode.None, -1)]
    [TestCase(Present | Writable, Kind.Write, Mode.None, -1)]
    [TestCase(Present | Writable, Kind.Read, Mode.User, 5)]
    [TestCase(Present | Writable, Kind.Write, Mode.User, 7)]
    [TestCase(Present | Writable, Kind.Fetch, Mode.User, 0x15)]
    [TestCase(Present | User, Kind.Read, Mode.User, -1)]
    [TestCase(Present | User, Kind.Write, Mode.User, 7)]
    [TestCase(Present | User, Kind.Write, Mode.User | Mode.WriteProtectOff, 7)]
    [TestCase(Present | User, Kind.Fetch, Mode.User, -1)]
    [TestCase(Present | Writable | User, Kind.Write, Mode.User, -1)]
    [TestCase(Present | NoExecute, Kind.Read, Mode.None, -1)]
    [TestCase(Present | NoExecute, Kind.Fetch, Mode.None, 0x11)]
    [TestCase(Present | NoExecute | User, Kind.Fetch, Mode.User, 0x15)]
    [TestCase(Present | NoExecute, Kind.Read, Mode.NoExecuteOff, 9)]
    [TestCase(Present | NoExecute | User | Writable, Kind.Write, Mode.NoExecuteOff | Mode.User, 0xF)]
    [TestCase(Present | Writable | 1UL << 45, Kind.Read, Mode.None, 9)]
    [TestCase(Present | Writable | 1UL << 45, Kind.Write, Mode.None, 0xB)]
    [TestCase(Present | User | 1UL << 45, Kind.Fetch, Mode.User, 0x1D)]
    [TestCase(Present | User, Kind.Fetch, Mode.None, -1)]
    [TestCase(Present | User, Kind.Fetch, Mode.Smep, 0x11)]
    [TestCase(Present | User, Kind.Read, Mode.Smep, -1)]
    [TestCase(Present | User, Kind.Read, Mode.Smap, 1)]
    [TestCase(Present | User | Writable, Kind.Write, Mode.Smap, 3)]
    [TestCase(Present | User | Writable, Kind.Write, Mode.Smap | Mode.Open, -1)]
    [TestCase(Present | User, Kind.Read, Mode.Smap | Mode.Open, -1)]
    [TestCase(Present | User, Kind.Write, Mode.Smap | Mode.Open, 3)]
    [TestCase(Present | User, Kind.Fetch, Mode.Smap, -1)]
    [TestCase(Present | User, Kind.Read, Mode.Smap | Mode.User, -1)]
    public void A_page_grants_its_rights_and_no_more(ulong bits, Kind kind, Mode mode, int error)
    {
        Pc.Map(Page, Frame, bits);

        Touch(kind, mode);

        AssertOutcome(kind, error);
    }

    // §4.6: every level must allow the access; §4.7: the present flag speaks of all levels.
    [TestCase(2, Present | User, Kind.Write, Mode.None, 3)]
    [TestCase(3, Present | User, Kind.Write, Mode.None, 3)]
    [TestCase(4, Present | User, Kind.Write, Mode.None, 3)]
    [TestCase(2, Present | Writable, Kind.Read, Mode.User, 5)]
    [TestCase(4, Present | Writable, Kind.Read, Mode.User, 5)]
    [TestCase(3, Present | Writable | User | NoExecute, Kind.Fetch, Mode.User, 0x15)]
    [TestCase(3, Writable | User, Kind.Read, Mode.None, 0)]
    [TestCase(4, Present | Writable | User | Large, Kind.Read, Mode.None, 9)]
    [TestCase(3, Present | Writable | User | 1UL << 44, Kind.Write, Mode.None, 0xB)]
    public void A_table_above_takes_rights_away(int level, ulong bits, Kind kind, Mode mode, int error)
    {
        const ulong Elsewhere = 0x80_4000_0000;   // a branch of its own, so that nothing else goes through it
        Pc.Map(Elsewhere, Frame, Present | Writable | User);
        ulong entry = Pc.EntryOf(Elsewhere, level);
        Pc.Memory.Write64(entry, Pc.Memory.Read64(entry) & ~0xFFFUL | bits);

        Touch(kind, mode, Elsewhere);

        AssertOutcome(kind, error, Elsewhere);
    }

    // Tables 4-16 and 4-18: address bits below the page's size are reserved, but for PAT at bit 12.
    [TestCase(2, 0UL, -1)]
    [TestCase(2, 1UL << 12, -1)]
    [TestCase(2, 1UL << 13, 9)]
    [TestCase(2, 1UL << 20, 9)]
    [TestCase(3, 0UL, -1)]
    [TestCase(3, 1UL << 12, -1)]
    [TestCase(3, 1UL << 21, 9)]
    [TestCase(3, 1UL << 29, 9)]
    public void A_large_page_reserves_the_low_address_bits(int level, ulong bits, int error)
    {
        Pc.Map(0x1_0000_0000, bits, Present | Writable, level);

        Touch(Kind.Read, Mode.None, 0x1_0000_0000);

        AssertOutcome(Kind.Read, error, 0x1_0000_0000);
    }

    [TestCase(2, 0x1_0020_0000UL, 0x40_0000UL)]
    [TestCase(3, 0x1_0000_0000UL, 0UL)]
    public void A_large_page_maps_all_its_bytes(int level, ulong linear, ulong physical)
    {
        Pc.Map(linear, physical, Present | Writable, level);
        Pc.Memory.Write64(physical + 0x10_1238, 0x1122_3344_5566_7788);
        Pc.Load(code =>
        {
            code.mov(rbx, linear + 0x10_1238);
            code.mov(rax, __[rbx]);
            code.mov(__dword_ptr[rbx + 8], 7);
            code.hlt();
        });

        Pc.RunToHalt();

        Assert.That(Register(Gpr.Rax), Is.EqualTo(0x1122_3344_5566_7788));
        Assert.That(Pc.Memory.Read32(physical + 0x10_1240), Is.EqualTo(7));
    }

    // §4.8.
    [TestCase(Kind.Read, Accessed)]
    [TestCase(Kind.Write, Accessed | Dirty)]
    [TestCase(Kind.Fetch, Accessed)]
    public void An_access_marks_the_entries_that_it_went_through(Kind kind, ulong expected)
    {
        ulong entry = Pc.Map(Page, Frame, Present | Writable);

        Touch(kind, Mode.None);

        Assert.That(Pc.Memory.Read64(entry) & (Accessed | Dirty), Is.EqualTo(expected));
        foreach (int level in (int[])[2, 3, 4])
            Assert.That(Pc.Memory.Read64(Pc.EntryOf(Page, level)) & (Accessed | Dirty), Is.EqualTo(Accessed),
                $"level {level}");
    }

    [Test]
    public void A_fault_marks_nothing_in_the_last_entry()
    {
        ulong entry = Pc.Map(Page, Frame, Present);

        Touch(Kind.Write, Mode.None);

        Assert.That(Pc.Memory.Read64(entry), Is.EqualTo(Frame | Present));
    }

    [Test]
    public void A_store_after_a_load_marks_the_page_dirty()
    {
        ulong entry = Pc.Map(Page, Frame, Present | Writable);
        Pc.Load(code =>
        {
            code.mov(rbx, Page);
            code.mov(al, __[rbx]);
            code.mov(rcx, __[entry]);
            code.mov(__[rbx], al);
            code.mov(rdx, __[entry]);
            code.hlt();
        });

        Pc.RunToHalt();

        Assert.That(Register(Gpr.Rcx) & Dirty, Is.Zero);
        Assert.That(Register(Gpr.Rdx) & Dirty, Is.EqualTo(Dirty));
    }

    // §4.8: software that clears a bit sees it set again by the next access, since there is no TLB to see.
    [Test]
    public void A_cleared_mark_is_set_again_by_the_next_access()
    {
        ulong entry = Pc.Map(Page, Frame, Present | Writable);
        Pc.Load(code =>
        {
            code.mov(rbx, Page);
            code.mov(__[rbx], al);
            code.and(__qword_ptr[entry], ~(int)(Accessed | Dirty));
            code.mov(al, __[rbx]);
            code.mov(rcx, __[entry]);
            code.mov(__[rbx], al);
            code.mov(rdx, __[entry]);
            code.hlt();
        });

        Pc.RunToHalt();

        Assert.That(Register(Gpr.Rcx) & (Accessed | Dirty), Is.EqualTo(Accessed));
        Assert.That(Register(Gpr.Rdx) & (Accessed | Dirty), Is.EqualTo(Accessed | Dirty));
    }

    // Vol. 3A §6.15, #PF: the instruction may be restarted, so nothing of it has happened.
    [Test]
    public void A_store_into_two_pages_stores_nothing_when_the_second_faults()
    {
        Pc.Map(Page, Frame, Present | Writable);
        Pc.Memory.Write64(Frame + 0xFF8, 0x1111_1111_1111_1111);
        ulong behind = Pc.Load(code =>
        {
            code.mov(rbx, Page + 0xFFC);
            code.mov(rax, ulong.MaxValue);
            code.mov(__[rbx], rax);
        });

        Pc.RunToHalt();

        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.PageFault));
        Assert.That(State->Cr2, Is.EqualTo(Page + 0x1000));
        Assert.That(Pc.Frame(2), Is.EqualTo(new ulong[] { 2, behind - 3 }));
        Assert.That(Pc.Memory.Read64(Frame + 0xFF8), Is.EqualTo(0x1111_1111_1111_1111));
    }

    [Test]
    public void A_load_from_two_pages_puts_them_together()
    {
        Pc.Map(Page, Frame, Present);
        Pc.Map(Page + 0x1000, Frame + 0x8000, Present);
        Pc.Memory.Write64(Frame + 0xFF8, 0x0102_0304_0000_0000);
        Pc.Memory.Write64(Frame + 0x8000, 0x0506_0708);
        Pc.Load(code =>
        {
            code.mov(rbx, Page + 0xFFC);
            code.mov(rax, __[rbx]);
            code.hlt();
        });

        Pc.RunToHalt();

        Assert.That(Register(Gpr.Rax), Is.EqualTo(0x0506_0708_0102_0304));
    }

    /// <summary>
    /// Touches the page, then ends in the handler of <see cref="Done"/>; so does the page itself when it is fetched.
    /// </summary>
    void Touch(Kind kind, Mode mode, ulong linear = Page)
    {
        Pc.SetGate(Done, HandlerOf(Done), dpl: 3);
        Pc.Memory.Write(Frame, [0xCD, Done]);
        bool isUser = (mode & Mode.User) != 0;
        if (isUser) Pc.EnterUser();
        Pc.Load(code =>
        {
            code.mov(rbx, linear);
            if (kind == Kind.Fetch) code.jmp(rbx);
            else if (kind == Kind.Write) code.mov(__[rbx], rax);
            else code.mov(rax, __[rbx]);
            code.@int(Done);
        }, isUser ? UserPages : VcpuFixture.Code);
        if ((mode & Mode.WriteProtectOff) != 0) State->Cr0 &= ~Cr0.WriteProtect;
        if ((mode & Mode.Smep) != 0) State->Cr4 |= Cr4.Smep;
        if ((mode & Mode.Smap) != 0) State->Cr4 |= Cr4.Smap;
        if ((mode & Mode.Open) != 0) State->SystemFlags |= Rflags.AlignmentCheck;
        if ((mode & Mode.NoExecuteOff) != 0) State->Efer &= ~Efer.NoExecute;
        Pc.Cpu.Refresh();
        Pc.RunToHalt();
    }

    void AssertOutcome(Kind kind, int error, ulong linear = Page)
    {
        Assert.That(Pc.HaltedVector, Is.EqualTo(error < 0 ? Done : Vector.PageFault));
        if (error < 0) return;
        ulong[] frame = Pc.Frame(2);
        Assert.That(frame[0], Is.EqualTo((ulong)error), "error code");
        Assert.That(State->Cr2, Is.EqualTo(linear));
        if (kind == Kind.Fetch) Assert.That(frame[1], Is.EqualTo(linear), "RIP");
    }
}
