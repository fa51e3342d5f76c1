namespace VmLab;

/// <summary>Lets amounts be read aloud: <c>256.MiB</c>, <c>30.Seconds</c>, <c>1.Gbps</c>.</summary>
public static class Units
{
    extension(int count)
    {
        public ByteSize KiB => new((ulong)count << 10);
        public ByteSize MiB => new((ulong)count << 20);
        public ByteSize GiB => new((ulong)count << 30);
        public BitRate Kbps => new((ulong)count * 1_000);
        public BitRate Mbps => new((ulong)count * 1_000_000);
        public BitRate Gbps => new((ulong)count * 1_000_000_000);
        public TimeSpan Microseconds => TimeSpan.FromMicroseconds(count);
        public TimeSpan Milliseconds => TimeSpan.FromMilliseconds(count);
        public TimeSpan Seconds => TimeSpan.FromSeconds(count);
        public TimeSpan Minutes => TimeSpan.FromMinutes(count);
    }
}
