using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;
using static VmLab.X86.Tests.Guests.VcpuFixture;

namespace VmLab.X86.Tests.Guests;

/// <summary>
/// The TLB never shows: each access sees the page tables as they stand, with no INVLPG. Source: design.md, contract
/// 3.
/// </summary>
public sealed unsafe class InvisibleTlbTests : GuestTest
{
    const ulong Page = 0x4000_0000, First = 0x50_0000, Second = 0x51_0000;

    ulong _entry;

    [SetUp]
    public void MapFirst()
    {
        _entry = Pc.Map(Page, First, Present | Writable);
        Pc.Memory.Write64(First, 1);
        Pc.Memory.Write64(Second, 2);
    }

    [Test]
    public void A_changed_entry_shows_at_the_next_load()
    {
        Pc.Load(code =>
        {
            code.mov(rbx, Page);
            code.mov(rax, __[rbx]);
            code.mov(__dword_ptr[_entry], (int)(Second | Present | Writable));
            code.mov(rcx, __[rbx]);
            code.hlt();
        });

        Pc.RunToHalt();

        Assert.That((Register(Gpr.Rax), Register(Gpr.Rcx)), Is.EqualTo((1UL, 2UL)));
    }

    [Test]
    public void A_changed_entry_shows_at_the_next_store()
    {
        Pc.Load(code =>
        {
            code.mov(rbx, Page);
            code.mov(__dword_ptr[rbx], 11);
            code.mov(__dword_ptr[_entry], (int)(Second | Present | Writable));
            code.mov(__dword_ptr[rbx], 22);
            code.hlt();
        });

        Pc.RunToHalt();

        Assert.That((Pc.Memory.Read64(First), Pc.Memory.Read64(Second)), Is.EqualTo((11UL, 22UL)));
    }

    [Test]
    public void An_entry_changed_by_dma_shows()
    {
        Label again = default;
        Pc.Load(code =>
        {
            code.mov(rbx, Page);
            again = code.CreateLabel();
            code.Label(ref again);
            code.mov(rax, __[rbx]);
            code.jmp(again);
        });
        Pc.Cpu.Run(11);

        Pc.Memory.Write64(_entry, Second | Present);
        Pc.Cpu.Run(2);

        Assert.That(Register(Gpr.Rax), Is.EqualTo(2));
    }

    [TestCase(2)]
    [TestCase(3)]
    [TestCase(4)]
    public void A_changed_table_above_shows(int level)
    {
        const ulong Elsewhere = 0x80_4000_0000;
        Pc.Map(Elsewhere, First, Present | Writable);
        ulong entry = Pc.EntryOf(Elsewhere, level), other = Pc.NewTable();
        ulong table = other;
        for (int at = level - 1; at > 1; at--)
        {
            ulong below = Pc.NewTable();
            Pc.Memory.Write64(table, below | Present | Writable);   // the address has zeros at these levels but one
            Pc.Memory.Write64(table + 8, below | Present | Writable);
            table = below;
        }
        Pc.Memory.Write64(table, Second | Present | Writable);
        Pc.Load(code =>
        {
            code.mov(rbx, Elsewhere);
            code.mov(rdx, entry);
            code.mov(rsi, other | Present | Writable);
            code.mov(rax, __[rbx]);
            code.mov(__[rdx], rsi);
            code.mov(rcx, __[rbx]);
            code.hlt();
        });

        Pc.RunToHalt();

        Assert.That((Register(Gpr.Rax), Register(Gpr.Rcx)), Is.EqualTo((1UL, 2UL)));
    }

    [Test]
    public void A_right_taken_away_is_missed_at_once()
    {
        Pc.Load(code =>
        {
            code.mov(rbx, Page);
            code.mov(__dword_ptr[rbx], 11);
            code.and(__dword_ptr[_entry], ~(int)Writable);
            code.mov(__dword_ptr[rbx], 22);
            code.hlt();
        });

        Pc.RunToHalt();

        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.PageFault));
        Assert.That(Pc.Frame(1)[0], Is.EqualTo(3));
        Assert.That(Pc.Memory.Read64(First), Is.EqualTo(11));
    }

    [Test]
    public void A_table_long_left_alone_is_watched_again_when_it_is_used()
    {
        ulong unused = _entry + 8;
        Pc.Load(code =>
        {
            code.mov(rbx, Page);
            code.mov(ecx, 200);
            Label again = code.CreateLabel();
            code.Label(ref again);
            code.mov(__qword_ptr[unused], 0);
            code.dec(ecx);
            code.jne(again);
            code.mov(rax, __[rbx]);
            code.mov(__dword_ptr[_entry], (int)(Second | Present | Writable));
            code.mov(rcx, __[rbx]);
            code.hlt();
        });

        Pc.RunToHalt();

        Assert.That((Register(Gpr.Rax), Register(Gpr.Rcx)), Is.EqualTo((1UL, 2UL)));
    }

    [Test]
    public void The_running_code_s_own_page_may_be_mapped_elsewhere()
    {
        const ulong Linear = 0x4010_0000;
        ulong entry = Pc.Map(Linear, First, Present | Writable);
        void Write(Assembler code, byte mark)
        {
            code.mov(__dword_ptr[entry], (int)(Second | Present | Writable));
            code.mov(al, mark);
            code.hlt();
        }
        Pc.Memory.Write(First, Assemble(code => Write(code, 1), Linear));
        Pc.Memory.Write(Second, Assemble(code => Write(code, 2), Linear));
        State->Rip = Linear;

        Pc.RunToHalt();

        Assert.That(Register(Gpr.Rax) & 0xFF, Is.EqualTo(2));
    }

    // Vol. 3A §4.10.4.1: with PCID, a load of CR3 with bit 63 set keeps the entries of the space it goes to; here
    // there are none to keep.
    [TestCase(false)]
    [TestCase(true)]
    public void Address_spaces_are_kept_apart(bool hasPcid)
    {
        const int Spaces = 40;   // more than the TLB keeps
        var roots = new ulong[Spaces];
        for (int i = 0; i < Spaces; i++)
        {
            ulong root = roots[i] = Pc.NewTable(), copy = Pc.NewTable(), pages = Pc.NewTable(), last = Pc.NewTable();
            Pc.Memory.Write64(root, copy | Present | Writable);
            Pc.Memory.Write64(copy, Pc.Memory.Read64(Pc.EntryOf(0, 3)));   // the low gigabyte is common
            Pc.Memory.Write64(copy + 8, pages | Present | Writable);       // the next is its own
            Pc.Memory.Write64(pages, last | Present | Writable);
            Pc.Memory.Write64(last, First + 0x1000UL * (ulong)i | Present | Writable);
            Pc.Memory.Write64(First + 0x1000UL * (ulong)i, (ulong)i);
            Pc.Memory.Write64(Data + 8 * (ulong)i, root | (hasPcid ? 1UL << 63 | (uint)i : 0));
        }
        if (hasPcid) State->Cr4 |= Cr4.Pcid;
        Pc.Cpu.Refresh();
        Pc.Load(code =>
        {
            code.mov(rbx, Page);
            code.mov(ecx, 3);
            Label round = code.CreateLabel(), next = code.CreateLabel();
            code.Label(ref round);
            code.xor(esi, esi);
            code.Label(ref next);
            code.mov(rax, __[rsi * 8 + (long)Data]);
            code.mov(cr3, rax);
            code.add(__qword_ptr[rbx], 0x100);   // each space counts its rounds
            code.inc(esi);
            code.cmp(esi, Spaces);
            code.jne(next);
            code.dec(ecx);
            code.jne(round);
            code.hlt();
        });

        Pc.RunToHalt();

        ulong[] counts = [.. Enumerable.Range(0, Spaces).Select(i => Pc.Memory.Read64(First + 0x1000UL * (ulong)i))];
        Assert.That(counts, Is.EqualTo(Enumerable.Range(0, Spaces).Select(i => (ulong)i + 0x300)));
    }

    [Test]
    public void An_entry_changed_while_another_space_ran_shows_on_the_way_back()
    {
        ulong other = Pc.NewTable();
        Pc.Memory.Write64(other, Pc.Memory.Read64(Pc.EntryOf(0, 4)));
        Pc.Load(code =>
        {
            code.mov(rbx, Page);
            code.mov(rdx, RootTable);
            code.mov(rsi, other);
            code.mov(rax, __[rbx]);
            code.mov(cr3, rsi);
            code.mov(__dword_ptr[_entry], (int)(Second | Present | Writable));
            code.mov(cr3, rdx);
            code.mov(rcx, __[rbx]);
            code.hlt();
        });

        Pc.RunToHalt();

        Assert.That((Register(Gpr.Rax), Register(Gpr.Rcx)), Is.EqualTo((1UL, 2UL)));
    }

    [Test]
    public void Two_addresses_of_one_page_agree()
    {
        Pc.Map(Page + 0x5000, First, Present | Writable);
        Pc.Load(code =>
        {
            code.mov(rbx, Page);
            code.mov(rax, __[rbx]);
            code.mov(__dword_ptr[rbx + 0x5000], 77);
            code.mov(rcx, __[rbx]);
            code.hlt();
        });

        Pc.RunToHalt();

        Assert.That(Register(Gpr.Rcx), Is.EqualTo(77));
    }

    [Test]
    public void A_table_that_maps_itself_shows_its_own_changes()
    {
        ulong table = _entry & ~0xFFFUL;
        ulong self = Pc.Map(Page + 0x3000, table, Present | Writable);
        Assert.That(self & ~0xFFFUL, Is.EqualTo(table));
        Pc.Load(code =>
        {
            code.mov(rbx, Page);
            code.mov(rax, __[rbx]);
            code.mov(__dword_ptr[rbx + 0x3000], (int)(Second | Present | Writable));
            code.mov(rcx, __[rbx]);
            code.hlt();
        });

        Pc.RunToHalt();

        Assert.That((Register(Gpr.Rax), Register(Gpr.Rcx)), Is.EqualTo((1UL, 2UL)));
    }
}
