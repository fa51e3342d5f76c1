namespace VmLab.X86;

// What SegmentOps' handlers are specialised by.

unsafe interface ITable
{
    static abstract (ulong Base, uint Limit) Get(CpuState* s);
    static abstract void Set(CpuState* s, ulong tableBase, uint limit);
}

unsafe struct GlobalTable : ITable
{
    public static (ulong Base, uint Limit) Get(CpuState* s) => (s->GdtBase, s->GdtLimit);
    public static void Set(CpuState* s, ulong tableBase, uint limit) => (s->GdtBase, s->GdtLimit) = (tableBase, limit);
}

unsafe struct InterruptTable : ITable
{
    public static (ulong Base, uint Limit) Get(CpuState* s) => (s->IdtBase, s->IdtLimit);
    public static void Set(CpuState* s, ulong tableBase, uint limit) => (s->IdtBase, s->IdtLimit) = (tableBase, limit);
}

unsafe interface ISelector
{
    /// <summary>UMIP applies.</summary>
    static abstract bool IsPrivileged { get; }
    static abstract ulong Get(CpuState* s, Op* op);
}

unsafe struct SegmentSelector : ISelector
{
    public static bool IsPrivileged => false;
    public static ulong Get(CpuState* s, Op* op) => s->SegmentSelectors[op->B];
}

unsafe struct TaskSelector : ISelector
{
    public static bool IsPrivileged => true;
    public static ulong Get(CpuState* s, Op* op) => s->TssSelector;
}

unsafe struct LocalTableSelector : ISelector
{
    public static bool IsPrivileged => true;
    public static ulong Get(CpuState* s, Op* op) => s->LdtSelector;
}

unsafe struct StatusWord : ISelector
{
    public static bool IsPrivileged => true;
    public static ulong Get(CpuState* s, Op* op) => s->Cr0;
}

interface IInspection
{
    static abstract bool ForLimit { get; }
    static abstract bool TryUse(Descriptor descriptor, out ulong value, out bool writes);
}

struct LoadRights : IInspection
{
    public static bool ForLimit => false;

    public static bool TryUse(Descriptor descriptor, out ulong value, out bool writes)
    {
        bool isGranular = (descriptor.Rights & SegmentRights.Granular) != 0;
        // Bits 19 to 16 of the limit lie between the rights; the AMD APM hands them out, the Intel SDM leaves them open.
        value = (ulong)descriptor.Rights << 8 | (isGranular ? descriptor.Limit >> 12 : descriptor.Limit) & 0xF_0000;
        return writes = true;
    }
}

struct LoadLimit : IInspection
{
    public static bool ForLimit => true;

    public static bool TryUse(Descriptor descriptor, out ulong value, out bool writes)
    {
        value = descriptor.Limit;
        return writes = true;
    }
}

struct VerifyRead : IInspection
{
    public static bool ForLimit => false;

    public static bool TryUse(Descriptor descriptor, out ulong value, out bool writes)
    {
        value = 0;
        writes = false;
        return descriptor.IsReadable;
    }
}

struct VerifyWrite : IInspection
{
    public static bool ForLimit => false;

    public static bool TryUse(Descriptor descriptor, out ulong value, out bool writes)
    {
        value = 0;
        writes = false;
        return descriptor.IsWritableData;
    }
}
