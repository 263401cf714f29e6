/** Small line drawings. Each stands beside words or in a named button, so screen readers skip it. */
import styles from "./icons.module.css";

function Icon({ path }: { path: string }) {
  return (
    <svg class={styles.icon} viewBox="0 0 20 20" aria-hidden="true">
      <path d={path} />
    </svg>
  );
}

export const SendIcon = () => <Icon path="M10 16V4M4.5 9.5 10 4l5.5 5.5" />;
export const StopIcon = () => <Icon path="M6 6h8v8H6z" />;
export const CopyIcon = () => <Icon path="M7 7V4h9v9h-3M4 7h9v9H4z" />;
export const RetryIcon = () => <Icon path="M15.5 10a5.5 5.5 0 1 1-1.8-4.1M15.5 3.5v3h-3" />;
export const ContinueIcon = () => <Icon path="M4 10h11M10.5 5.5 15 10l-4.5 4.5" />;
export const PreviousIcon = () => <Icon path="M12 5l-5 5 5 5" />;
export const NextIcon = () => <Icon path="M8 5l5 5-5 5" />;
export const UploadIcon = () => <Icon path="M10 13V4M6 8l4-4 4 4M4 13v3h12v-3" />;
export const DeleteIcon = () => <Icon path="M4 6h12M8 6V4h4v2M5.5 6l.8 10h7.4l.8-10M8.5 9v4M11.5 9v4" />;

/** Storyloom's logo: threads in a loom. */
export function Logo() {
  return (
    <svg class={styles.logo} viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="7" />
      <path class={styles.warp} d="M10 6v20M16 6v20M22 6v20" />
      <path class={styles.gap} d="M6 10h20M6 16h20M6 22h20" />
      <path class={styles.weft} d="M6 10h20M6 16h20M6 22h20" />
      <path class={styles.gap} d="M10 13.8v4.4M22 13.8v4.4M16 7.8v4.4M16 19.8v4.4" />
      <path class={styles.warp} d="M10 13.8v4.4M22 13.8v4.4M16 7.8v4.4M16 19.8v4.4" />
    </svg>
  );
}
