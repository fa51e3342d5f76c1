using Iced.Intel;

namespace VmLab.X86;

/// <summary>Bytes near each other that instructions of a block touch through the same registers: one look at the TLB serves them all.</summary>
/// <param name="Slot">Where in <see cref="CpuState.Windows"/> the host address of the first byte is.</param>
/// <param name="First">Displacement of the first byte.</param>
/// <param name="End">Displacement behind the last.</param>
readonly record struct Window(
    Iced.Intel.Register Base, Iced.Intel.Register Index, int Scale, int Segment, int Slot, long First, long End, bool IsWritten, int Touches)
{
    const int MostBytes = 256;

    public int Bytes => (int)(End - First);

    /// <summary>Whether it opens with this: another instruction, no matter where it points.</summary>
    public bool IsShared => Touches > 1;

    /// <summary>Whether what is in the slot is its first byte only as long as a guest register, of these bits, stays.</summary>
    public bool IsMovedBy(int written) => ((BitOf(Base) | BitOf(Index)) & written) != 0;

    public static Window Of(in Instruction i, int slot, bool isWritten)
    {
        long first = Translator.DisplacementOf(i);
        int segment = Form.SegmentOf(i.MemorySegment);
        if (segment is not (X86.Segment.Fs or X86.Segment.Gs)) segment = X86.Segment.Ds;
        return new(i.MemoryBase, i.MemoryIndex, i.MemoryIndexScale, segment, slot, first, first + i.MemorySize.GetSize(), isWritten, 1);
    }

    /// <summary>Widens it by another access.</summary>
    /// <returns><see langword="false"/> where that is of other registers, or too far away.</returns>
    public bool TryWiden(in Window other, out Window both)
    {
        both = this with
        {
            First = Math.Min(First, other.First),
            End = Math.Max(End, other.End),
            IsWritten = IsWritten || other.IsWritten,
            Touches = Touches + 1,
        };
        bool isSame = Base == other.Base && Index == other.Index && Scale == other.Scale && Segment == other.Segment;
        return isSame && both.Bytes <= MostBytes;
    }

    static int BitOf(Iced.Intel.Register register) => Iced.Intel.RegisterExtensions.IsGPR64(register) ? 1 << (Form.OffsetOf(register) >> 3) : 0;
}

// A window that turns out to reach into another page is left to the interpreter, and its block, in the end, to a translation without.
sealed unsafe partial class Translator
{
    const int Patience = 16;

    readonly List<Window> _windows = [];
    readonly int[] _windowOf = new int[MostInstructions];   // -1 for none
    Place _operand;   // in memory, of the present instruction

    /// <summary>Finds the accesses of the block that share a look at the TLB.</summary>
    void FindWindows(int count)
    {
        Span<int> open = stackalloc int[CpuState.WindowCount];
        open.Fill(-1);
        _windows.Clear();
        for (int k = 0; k < count; k++)
        {
            ref readonly Instruction i = ref _instructions[k];
            _windowOf[k] = !_block->DoesWithoutWindows && MayShare(i, k) ? OpenWindow(i, k, open) : -1;
            int written = _ways[k] == Way.Interpreted ? -1 : WrittenBy(i);
            foreach (ref int window in open)
                if (window >= 0 && (written == -1 || _windows[window].IsMovedBy(written))) window = -1;
        }
    }

    /// <summary>Has an access share an open window, or opens one for it.</summary>
    /// <returns>Its place in the list.</returns>
    int OpenWindow(in Instruction i, int index, Span<int> open)
    {
        var access = Window.Of(i, _windows.Count % open.Length, IsStoreTo(i, index));
        foreach (int window in open)
        {
            if (window < 0 || !_windows[window].TryWiden(access, out Window both)) continue;
            _windows[window] = both;
            return window;
        }
        open[access.Slot] = _windows.Count;
        _windows.Add(access);
        return _windows.Count - 1;
    }

    /// <summary>Whether the translation of an instruction touches its operand in memory by <see cref="EmitAccess"/> only.</summary>
    bool MayShare(in Instruction i, int index) => _ways[index] switch
    {
        Way.Encoded => _shapes[index].IsMemory && IsWideAddress(i),
        Way.Vector => _vectorShapes[index].Rm < 0 && IsWideAddress(i) && !(i.MemorySize.GetSize() == 16 && MustBeAligned(i.Mnemonic)),
        _ => false,
    };

    static bool IsWideAddress(in Instruction i) => i.MemoryBase.GetSize() != 4 && i.MemoryIndex.GetSize() != 4;

    bool IsStoreTo(in Instruction i, int index) => _ways[index] == Way.Encoded ? _shapes[index].RmIsWritten : _vectorShapes[index].RmIsWritten;

    /// <summary>Puts the host address of a window's first byte into R14: from its slot, or, for the first access, by a look at the TLB.</summary>
    void EmitWindow(in Instruction i, int index, Window window, Op* op)
    {
        if (Array.IndexOf(_windowOf, _windowOf[index]) == index)
        {
            EmitLinear(i, window.First);
            EmitLookup(window.IsWritten ? WriteTag : ReadTag, window.Bytes, op);
            _departures[^1] = _departures[^1] with { Window = window.Bytes };
            _e.Store(SlotOf(window), Host.R14);
        }
        else _e.Load(Host.R14, SlotOf(window));
        _operand = Place.At(Host.R14, (int)(DisplacementOf(i) - window.First));
    }

    static Place SlotOf(Window window) => Place.State(StateOffset.Windows + 8 * window.Slot);

    /// <summary>Leaves for the op where the TLB misses, and where the window is too wide for its page for one that counts that.</summary>
    /// <remarks>The spill has what the look at the TLB left: of the linear address, the low 12 bits.</remarks>
    void EmitWindowExit(Op* op, int bytes)
    {
        Op* count = _blocks.AllocateOps(1);
        *count = default;
        count->Run = &TranslatorOps.Cross;
        count->Length = op->Length;
        count->Immediate = Patience;
        count->Displacement = (long)op;
        count->Link = _block;
        _e.Load(Host.R14, Place.State(StateOffset.Spill));
        _e.Immediate(Operation.And, Place.Register(Host.R14), 0xFFF, isWide: false);
        _e.Immediate(Operation.Cmp, Place.Register(Host.R14), 4096 - bytes, isWide: false);
        _e.MoveImmediate(Host.R14, (ulong)op);
        _e.JumpIf(Condition.BelowOrEqual, _stubs.Exit);
        _e.MoveImmediate(Host.R14, (ulong)count);
        _e.Jump(_stubs.Exit);
    }

    /// <summary>Translates a block anew, without windows; whoever enters its old translation comes to the new one.</summary>
    public void Narrow(Block* block)
    {
        byte* old = Writable(block->Native);
        block->DoesWithoutWindows = true;
        if (!Translate(block)) return;
        byte* last = _e.At, narrow = Writable(block->Native);
        for (int entry = 0; entry <= PrologueBytes; entry += PrologueBytes)
        {
            _e.At = old + entry;
            _e.Jump(narrow + entry);
        }
        _e.At = last;
    }
}
