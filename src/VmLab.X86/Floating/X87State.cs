namespace VmLab.X86.Floating;
public struct X87State { public ulong Dummy; }
